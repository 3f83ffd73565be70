"""The port to what holds assignments: list, create, delete, follow. What the engine knows of AWS is here.

identity_center/ is its one implementation today. Whatever implements it passes
tests/provisioner/driver_contract.py; the engine's promises stand on that and on nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Literal, Protocol

from services.provisioner.domain.assignments import CallKind

RequestStatus = Literal["IN_PROGRESS", "SUCCEEDED", "FAILED"]
Priority = Literal["revoke", "poll", "verify", "cut", "create", "grant", "drift", "catalog"]
"""What a call is for, most urgent first: what takes access away goes before what gives it, and that before
looking around. The rate limiter lets calls through in this order.

Polling comes early, because it frees slots and accounts and sees deletions that failed. A creation holds a
slot while it waits, so it goes before the looks of those that hold none."""

Confirm = Callable[[], Awaitable[None]]

USERS_A_CALL: Final = 100
ACCOUNTS_A_CALL: Final = 20
"""Rows of a page at most, by AWS's own limits."""


@dataclass(frozen=True, slots=True)
class AssignmentKey:
    """One assignment of a user: who, where, with which set. The instance is the driver's."""

    user_id: str
    account_id: str
    set_arn: str


@dataclass(frozen=True, slots=True)
class AwsPrincipal:
    """Who holds an assignment."""

    kind: Literal["USER", "GROUP"]
    id: str


@dataclass(frozen=True, slots=True)
class Request:
    """An asynchronous request as the driver tells of it. Accepted or even SUCCEEDED proves nothing: list.

    `key` is None where the driver does not say it (a list of requests may give status, id and date only).
    """

    kind: CallKind
    request_id: str
    status: RequestStatus
    reason: str = ""
    """The driver's own words for a failure."""
    created_at: datetime | None = None
    key: AssignmentKey | None = None


@dataclass(frozen=True, slots=True)
class UserStatus:
    enabled: bool


class DriverProblem(Enum):
    """Why a call failed, as far as it decides what to do next."""

    THROTTLED = "throttled"
    """Too many calls: slow down, then again."""
    SLOTS_FULL = "slots_full"
    """Too many asynchronous requests outstanding: again when one has ended."""
    CONFLICT = "conflict"
    """An earlier change has not settled: again after a pause, without end."""
    NOT_FOUND = "not_found"
    """Something the call names is not there; for a delete the caller decides by listing."""
    DENIED = "denied"
    """IAM, or missing or expired credentials: an operator must act."""
    QUOTA = "quota"
    """A quota is used up: an operator must act."""
    INVALID = "invalid"
    """This call will never be accepted."""
    TRANSIENT = "transient"
    """Network or a fault at the other end: again after a pause."""
    KMS = "kms"
    """The instance's customer managed key cannot be used: an operator must act."""


class DriverError(Exception):
    """A call that failed.

    `ambiguous`: it may have been accepted all the same (time-out or reset after sending, 5xx). Then only
    listing says what is true.
    """

    def __init__(
        self, problem: DriverProblem, code: str, *, detail: str = "", ambiguous: bool = False
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.problem = problem
        self.code = code
        self.detail = detail
        self.ambiguous = ambiguous


class Driver(Protocol):
    """Every method may raise `DriverError`. Lists may lag behind; nothing else may be untrue."""

    async def holders(
        self,
        account_id: str,
        set_arn: str,
        *,
        priority: Priority = "verify",
        confirm: Confirm | None = None,
    ) -> frozenset[AwsPrincipal]:
        """Who holds the set on the account. NOT_FOUND where one of them does not exist.

        INVALID for a set that is not of the driver's instance; so for every call that names a set.
        `confirm` is asked right before each call that this takes.
        """
        ...

    async def is_gone(self, account_id: str, set_arn: str, *, priority: Priority = "verify") -> bool:
        """Whether the set or the account was asked for by itself, and is not there: nobody can hold it.

        What a list answered NOT_FOUND to may have another reason.
        """
        ...

    async def create(self, key: AssignmentKey, *, confirm: Confirm | None = None) -> Request:
        """Ask for an assignment; sent once. One that is there already stays.

        `confirm` is asked right before the send, and stops it by raising.
        """
        ...

    async def delete(self, key: AssignmentKey) -> Request:
        """Ask to take an assignment away; sent once. NOT_FOUND, or success, where there is none."""
        ...

    async def follow(self, kind: CallKind, request_id: str) -> Request:
        """What became of a request, with its key. NOT_FOUND where the id is not, or no longer, known."""
        ...

    async def outstanding(self, kind: CallKind) -> list[Request]:
        """All requests in progress, everybody's, in as many calls as that takes."""
        ...

    async def newest(self, kind: CallKind) -> list[Request]:
        """Requests in whatever status, everybody's, as many as one call shows: the newest, if ordered.

        One that is missing may be older, or not listed yet.
        """
        ...


class AwsDirectory(Protocol):
    """The facts that are asked anew before each grant. Every method may raise `DriverError`."""

    async def user(self, user_id: str, *, priority: Priority = "grant") -> UserStatus | None:
        """None for a user that does not exist."""
        ...

    async def account_state(self, account_id: str, *, priority: Priority = "grant") -> str | None:
        """AWS's word (ACTIVE, SUSPENDED, ...); None for an account that is not in the organisation."""
        ...

    async def set_digest(self, set_arn: str, *, priority: Priority = "grant") -> str | None:
        """Of what the permission set allows now; None for a set that does not exist."""
        ...

    async def every_user(self, *, priority: Priority = "grant") -> Mapping[str, UserStatus]:
        """All users by id; `USERS_A_CALL` of them cost a call."""
        ...

    async def every_account_state(self, *, priority: Priority = "grant") -> Mapping[str, str]:
        """AWS's word about all accounts, by id; `ACCOUNTS_A_CALL` of them cost a call."""
        ...
