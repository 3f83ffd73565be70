"""AWS's asynchronous requests: accepted now, done later, SUCCEEDED or FAILED.

Pure: requests move when `advance(now)` is called and take effect at the moment they end, not when they are
looked at. Holds the rules of what may run at once; the effect itself is made in `truth`.
"""

import math
import random
from dataclasses import dataclass

from simulator.directory import Directory
from simulator.errors import conflict, slots_exhausted
from simulator.model import Assignment, Record
from simulator.settings import Settings
from simulator.truth import Truth

CREATE, DELETE, PROVISION = "create", "delete", "provision"
ROLE_DENIED = (
    "Received a 403 status error: Access denied by IAM. Verify that the caller has permission to manage "
    "the role, or wait for role propagation and try again."
)
PRINCIPAL_GONE = "The principal does not exist in the identity store."
SET_GONE = "The permission set does not exist."
MISSING = "The account assignment does not exist."
KEPT_ENDED = 5_000
"""How many ended requests can still be asked for; AWS says neither how many nor how long."""


class AsyncRequest(Record):
    """`begins` is None while it waits for its account; `seconds` is None when it never ends."""

    id: str
    number: int
    kind: str
    account: str | None
    permission_set: str
    assignment: Assignment | None = None
    created_at: float
    seconds: float | None
    begins: float | None = None
    ended_at: float | None = None
    status: str = "IN_PROGRESS"
    failure_reason: str | None = None
    planned_failure: str | None = None
    partial: bool = False

    @property
    def ends(self) -> float:
        return math.inf if self.begins is None or self.seconds is None else self.begins + self.seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What an injected fault does to an accepted request; the default is nothing."""

    failure: str | None = None
    partial: bool = False
    never_ends: bool = False
    seconds: float | None = None


class AsyncRequests:
    def __init__(self, directory: Directory, truth: Truth, rng: random.Random) -> None:
        self.settings = Settings()
        self.all: dict[str, AsyncRequest] = {}
        self._running: dict[str, AsyncRequest] = {}
        self._count = 0
        self._directory = directory
        self._truth = truth
        self._rng = rng

    def restore(self, requests: list[AsyncRequest]) -> None:
        self.all = {request.id: request for request in requests}
        self._count = max((request.number for request in requests), default=0)
        self._running = {key: found for key, found in self.all.items() if found.status == "IN_PROGRESS"}

    @property
    def outstanding(self) -> int:
        counted = (CREATE, DELETE) if self.settings.slots_count_deletions else (CREATE,)
        return sum(request.kind in counted for request in self._running.values())

    def running(self) -> list[AsyncRequest]:
        return list(self._running.values())

    def works_on(self, assignment: Assignment) -> bool:
        return any(running.assignment == assignment for running in self._running.values())

    def of_kind(self, kind: str, status: str | None) -> list[AsyncRequest]:
        """Requests of one kind, in one status or in any; ended ones are kept."""
        return [found for found in self.all.values() if found.kind == kind and status in {None, found.status}]

    def assign(self, kind: str, assignment: Assignment, *, now: float, plan: Plan) -> AsyncRequest:
        """Accept the creation or deletion of an assignment. Raises ApiError when it may not run now."""
        self._refuse_conflicts(assignment)
        counted = kind == CREATE or self.settings.slots_count_deletions
        if counted and self.settings.slots and self.outstanding >= self.settings.slots:
            raise slots_exhausted()
        return self._accept(
            kind,
            account=assignment.account,
            permission_set=assignment.permission_set,
            assignment=assignment,
            now=now,
            plan=plan,
        )

    def provision(self, permission_set: str, account: str | None, *, now: float, plan: Plan) -> AsyncRequest:
        """Accept the provisioning of a set to one account, or to all that hold it (`account` None)."""
        if any(request.permission_set == permission_set for request in self._running.values()):
            raise conflict("There is a conflicting request in progress for the permission set.")
        return self._accept(PROVISION, account=account, permission_set=permission_set, now=now, plan=plan)

    def advance(self, now: float) -> bool:
        """Let everything that ends up to `now` end, in the order of its end. True when anything did."""
        before = len(self._running)
        while due := [request for request in self._running.values() if request.ends <= now]:
            request = min(due, key=lambda found: (found.ends, found.number))
            self._end(request, at=request.ends)
        return len(self._running) != before

    def finish(self, request_id: str, *, now: float, failure: str | None = None) -> AsyncRequest:
        """End a request now, whatever its plan was: how a test frees one that never ends."""
        request = self._running[request_id]
        changed = request.model_copy(update={"planned_failure": failure})
        self._end(changed, at=now)
        return self.all[request_id]

    def _refuse_conflicts(self, wanted: Assignment) -> None:
        for running in self._running.values():
            same_set = running.permission_set == wanted.permission_set
            if running.account in {wanted.account, None} and same_set:
                raise conflict("There is a conflicting request in progress for this account assignment.")
            busy = running.account == wanted.account
            if busy and self.settings.account_serialisation == "conflict":
                raise conflict("There is a conflicting request in progress for this account.")

    def _accept(
        self,
        kind: str,
        *,
        account: str | None,
        permission_set: str,
        now: float,
        plan: Plan,
        assignment: Assignment | None = None,
    ) -> AsyncRequest:
        self._count += 1
        request = AsyncRequest(
            id=new_uuid(self._rng),
            number=self._count,
            kind=kind,
            account=account,
            permission_set=permission_set,
            assignment=assignment,
            created_at=now,
            seconds=self._seconds(kind, plan),
            begins=None if self._must_wait(account) else now,
            planned_failure=plan.failure,
            partial=plan.partial,
        )
        self.all[request.id] = self._running[request.id] = request
        self._forget_oldest()
        return request

    def _forget_oldest(self) -> None:
        if len(self.all) > KEPT_ENDED + len(self._running):
            del self.all[next(key for key in self.all if key not in self._running)]

    def _must_wait(self, account: str | None) -> bool:
        if account is None or self.settings.account_serialisation == "off":
            return False
        return any(running.account == account for running in self._running.values())

    def _seconds(self, kind: str, plan: Plan) -> float | None:
        if plan.never_ends:
            return None
        if plan.seconds is not None:
            return plan.seconds
        by_kind = {
            CREATE: self.settings.create_seconds,
            DELETE: self.settings.delete_seconds,
            PROVISION: self.settings.provision_seconds,
        }
        return self._rng.uniform(by_kind[kind].low, by_kind[kind].high)

    def _end(self, request: AsyncRequest, *, at: float) -> None:
        failure = request.planned_failure or self._natural_failure(request)
        if failure is None or request.partial:
            self._take_effect(request, at=at)
        ended = request.model_copy(
            update={
                "status": "FAILED" if failure else "SUCCEEDED",
                "failure_reason": failure,
                "ended_at": at,
                "begins": request.begins if request.begins is not None else at,
            },
        )
        self.all[request.id] = ended
        del self._running[request.id]
        self._begin_next(request.account, at=at)

    def _begin_next(self, account: str | None, *, at: float) -> None:
        waiting = [found for found in self._running.values() if found.account == account and account]
        if not waiting or any(found.begins is not None for found in waiting):
            return
        first = min(waiting, key=lambda found: found.number)
        begun = first.model_copy(update={"begins": at})
        self.all[first.id] = self._running[first.id] = begun

    def _natural_failure(self, request: AsyncRequest) -> str | None:
        """Why AWS itself fails the request, judged when it ends: the world may have changed meanwhile."""
        if request.permission_set not in self._directory.permission_sets:
            return SET_GONE
        if request.kind == DELETE and request.assignment not in self._truth.present:
            return MISSING if self.settings.missing_assignment_deletion == "failed" else None
        if request.kind != CREATE or request.assignment is None:
            return None
        wanted = request.assignment
        if not self._directory.has_principal(wanted.principal_type, wanted.principal):
            return PRINCIPAL_GONE
        account = self._directory.accounts.get(wanted.account)
        return None if account and account.state == "ACTIVE" else ROLE_DENIED

    def _take_effect(self, request: AsyncRequest, *, at: float) -> None:
        lag = self.settings.list_lag_seconds
        found = self._directory.permission_sets.get(request.permission_set)
        revision = found.revision if found else 1
        if request.kind == PROVISION:
            self._provision_roles(request, revision)
        elif request.assignment and request.kind == CREATE:
            self._truth.appear(request.assignment, at=at, cause=request.id, revision=revision, lag=lag)
        elif request.assignment:
            self._truth.disappear(request.assignment, at=at, cause=request.id, lag=lag)

    def _provision_roles(self, request: AsyncRequest, revision: int) -> None:
        holding = [account for account, arn in self._truth.roles if arn == request.permission_set]
        for account in [request.account] if request.account else holding:
            self._truth.provision(account, request.permission_set, revision=revision)


def new_uuid(rng: random.Random) -> str:
    """A version-4 shaped id from the seeded source, so that a run can be repeated."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
