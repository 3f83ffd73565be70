"""An assignment with its claims: the unit that is locked, decided on and saved.

Pure values, and what a step of the claims means for the assignment. What to do next about it is decided in
decisions.py; what becomes of the calls that are made, in call_outcomes.py.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from services.provisioner.domain import lifecycle
from services.provisioner.domain.alarms import alarm
from services.provisioner.domain.claims import ASKED, Claim, ClaimState
from services.provisioner.domain.timing import Timing
from shared.contracts.access import AccessFact, EndCause
from shared.contracts.change import Alert, Change, Origin

CallKind = Literal["create", "delete"]
Desired = Literal["present", "absent"]


class Observed(StrEnum):
    """What is known about the assignment in AWS."""

    UNKNOWN = "unknown"
    CREATED = "created"
    """A creation SUCCEEDED; not yet seen."""
    DOUBTFUL = "doubtful"
    """A creation FAILED, which may be partial: being listed is no proof of working access."""
    PRESENT = "present"
    DELETED = "deleted"
    """A deletion SUCCEEDED, or there was nothing to delete; not yet seen gone."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of ours. Without a request id nobody knows whether AWS accepted it."""

    kind: CallKind
    started: datetime
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One row of the tuple (instance, user, account, set), with the claims on it that are not closed."""

    id: int
    instance: str
    user_id: str
    account_id: str
    set_id: str
    set_arn: str | None = None
    desired: Desired = "absent"
    observed: Observed = Observed.UNKNOWN
    op: Op | None = None
    request_id: str | None = None
    """AWS's id of the creation that made what is there; None where nobody knows, or where it was not ours."""
    deletion_id: str | None = None
    """AWS's id of our newest deletion since that creation."""
    deletion_ended: datetime | None = None
    """When a deletion of ours may last take effect, in the future for one that nobody can follow; None once a
    creation of ours succeeded after it."""
    creating_until: datetime | None = None
    """Until when a creation of ours that nobody can follow may still come true; None once a later operation
    succeeded, since AWS takes one at a time."""
    settled_at: datetime | None = None
    absent_seen: int = 0
    absent_first: datetime | None = None
    attempt: int = 0
    """Failures in a row, each of which counts against giving up (a creation) or lengthens the pauses."""
    put_off: int = 0
    """How often in a row AWS said "not now" to a creation: it lengthens the pauses, and counts as nothing."""
    next_at: datetime | None = None
    pre_existing: bool = False
    """Found, and no operation of ours explains it: never deleted."""
    ours: bool = False
    """AWS took an operation of ours, or may have, and that still explains what is there. Not so before the
    first call, nor after one that AWS refused; undone with the last look after it was verified gone."""
    reappeared: bool = False
    """There again after it had been verified gone; until it is gone again."""
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    last_code: str = ""
    last_error: str = ""
    claims: tuple[Claim, ...] = ()
    """By id."""

    def claim(self, claim_id: str) -> Claim | None:
        return next((claim for claim in self.claims if claim.id == claim_id), None)

    def in_state(self, *states: ClaimState) -> tuple[Claim, ...]:
        return tuple(claim for claim in self.claims if claim.state in states)

    def holding(self, now: datetime) -> tuple[Claim, ...]:
        """The claims for which the assignment has to be there now."""
        return tuple(claim for claim in self.claims if claim.holds(now))

    def starting(self, now: datetime) -> tuple[Claim, ...]:
        """Claims whose window has opened: to be re-checked, then asked for."""
        return tuple(claim for claim in self.in_state(ClaimState.SCHEDULED) if claim.in_window(now))

    def next_change(self, now: datetime, *, without: Collection[str] = ()) -> datetime | None:
        """When time alone changes what is wanted: the next start (one that has passed is due now), or end.

        The expiry producer is at an end first; this is for the case that no producer runs. Claims `without`
        which it is asked wait for something else than time.
        """
        counted = [claim for claim in self.claims if claim.id not in without]
        starts = [max(claim.starts_at, now) for claim in counted if claim.state is ClaimState.SCHEDULED]
        ends = [claim.ends_at for claim in counted if claim.state in ASKED]
        return min([*starts, *ends], default=None)

    def may_come_true(self, now: datetime) -> bool:
        """Whether absence proves nothing: a creation that nobody can follow may still be carried out."""
        return self.creating_until is not None and now < self.creating_until

    def not_ahead_of(self, now: datetime, timing: Timing) -> "Assignment":
        """Without moments that cannot be: the clock was set back after they were noted."""
        return replace(
            self,
            settled_at=_at_most(self.settled_at, now),
            absent_first=_at_most(self.absent_first, now),
            closed_at=_at_most(self.closed_at, now),
            creating_until=_at_most(self.creating_until, now + timing.operation_longest),
            deletion_ended=_at_most(self.deletion_ended, now + timing.operation_longest),
        )

    def is_due(self, now: datetime) -> bool:
        """To be visited now. One with an operation of ours is polled instead."""
        return self.op is None and self.next_at is not None and self.next_at <= now

    def due(self, at: datetime) -> "Assignment":
        """To be visited at `at`, or earlier if it already was to be."""
        return replace(self, next_at=at if self.next_at is None else min(self.next_at, at))


def _at_most(moment: datetime | None, latest: datetime) -> datetime | None:
    return None if moment is None else min(moment, latest)


def move(assignment: Assignment, steps: Iterable[Change[Claim]]) -> Change[Assignment]:
    """The assignment after these steps of its claims (new ones too), with their facts and alerts."""
    claims = {claim.id: claim for claim in assignment.claims}
    events: list[AccessFact] = []
    alerts: list[Alert] = []
    for step in steps:
        claims[step.state.id] = step.state
        for fact in step.events:
            assert isinstance(fact, AccessFact)  # noqa: S101 (a claim has no other facts)
            events.append(fact)
            if alert := alarm(step.state, fact, assignment.last_error):
                alerts.append(alert)
    ordered = tuple(claims[claim_id] for claim_id in sorted(claims))
    return Change(replace(assignment, claims=ordered), tuple(events), tuple(alerts))


def end_claims(
    assignment: Assignment, claims: Iterable[Claim], origin: Origin, *, cause: EndCause
) -> Change[Assignment]:
    """End these claims of it. If AWS was asked for one the assignment is due, and absence is seen anew."""
    change = move(
        assignment, [lifecycle.end(claim, origin, cause=cause) for claim in claims if claim.is_open]
    )
    after = change.state
    if after.in_state(ClaimState.REVOKING) == assignment.in_state(ClaimState.REVOKING):
        return change
    after = replace(
        after,
        desired="present" if after.holding(origin.at) else "absent",
        next_at=origin.at,
        absent_seen=0,
        absent_first=None,
        attempt=0,
        closed_at=None,
    )
    return replace(change, state=after)


def receive(assignment: Assignment, claim: Claim) -> Change[Assignment]:
    """A claim that was approved, as ticket says: it waits for the witness."""
    return move(assignment, [Change(claim)])
