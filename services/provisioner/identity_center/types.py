"""What the adapter speaks in: our own types for Identity Center's answers and errors.

No I/O, so that domain-side code may use them. `adapter` and `problems` make them; claims and reconcile
use them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal

Kind = Literal["create", "delete"]
Status = Literal["IN_PROGRESS", "SUCCEEDED", "FAILED"]
Priority = Literal["revoke", "verify", "cut", "grant", "poll", "drift", "catalogue"]
"""What a call is for, most urgent first; the rate limiter lets calls through in this order."""

Limiter = Callable[[str], Awaitable[None]]
"""Waits until a call of that priority may be sent."""


@dataclass(frozen=True, slots=True)
class AssignmentKey:
    """One assignment of a user: who, where, with which set. The instance is the adapter's."""

    user_id: str
    account_id: str
    set_arn: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who holds an assignment, as AWS lists it."""

    kind: Literal["USER", "GROUP"]
    id: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An asynchronous request as AWS tells of it. Accepted or even SUCCEEDED proves nothing: read back.

    `key` is None where AWS does not say it (the status lists give status, id and date only).
    """

    kind: Kind
    request_id: str
    status: Status
    reason: str = ""
    """AWS's own words for a failure."""
    created_at: datetime | None = None
    key: AssignmentKey | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    arn: str
    identity_store_id: str


@dataclass(frozen=True, slots=True)
class UserStatus:
    enabled: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS credentials given by the caller; without them the SDK's own chain (role, environment) is used."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Problem(Enum):
    """Why a call failed, as far as it decides what to do next."""

    THROTTLED = "throttled"
    """Too many calls: slow down, then again."""
    SLOTS_FULL = "slots_full"
    """Too many asynchronous requests outstanding: again when one has ended."""
    CONFLICT = "conflict"
    """An earlier change has not settled: again after a pause, without end."""
    NOT_FOUND = "not_found"
    """Something the call names is not there; for a delete the caller decides by reading back."""
    DENIED = "denied"
    """IAM, or missing or expired credentials: an operator must act."""
    QUOTA = "quota"
    """An AWS quota is used up: an operator must act."""
    INVALID = "invalid"
    """AWS will never accept this call."""
    TRANSIENT = "transient"
    """Network or a fault inside AWS: again after a pause."""
    KMS = "kms"
    """The instance's customer managed key cannot be used: an operator must act."""


class IdentityCenterError(Exception):
    """A call that failed.

    `ambiguous`: AWS may have accepted it all the same (time-out or reset after sending, 5xx). Then only
    reading back says what is true.
    """

    def __init__(self, problem: Problem, code: str, *, detail: str = "", ambiguous: bool = False) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.problem = problem
        self.code = code
        self.detail = detail
        self.ambiguous = ambiguous
