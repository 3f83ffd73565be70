"""A claim: a grant's interest in an assignment, its states, and which state may follow which.

Pure values. How a claim moves is in lifecycle.py, what its assignment does about it in decisions.py.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.contracts.access import EndCause

SERVICE: Final = "provisioner"

NOT_OURS: Final = "not_ours"
"""In `kept_by`: the assignment was there before JIT and stays."""


class ClaimState(StrEnum):
    WAITING = "waiting"
    """Approved as ticket says, not yet as approval says: no witness."""
    SCHEDULED = "scheduled"
    GRANTING = "granting"
    ACTIVE = "active"
    REVOKING = "revoking"
    REVOKED = "revoked"
    RELEASED = "released"
    FAILED = "failed"


_S = ClaimState
TRANSITIONS: Final = {
    _S.WAITING: {_S.SCHEDULED, _S.FAILED},
    _S.SCHEDULED: {_S.GRANTING, _S.FAILED},
    _S.GRANTING: {_S.ACTIVE, _S.REVOKING},
    _S.ACTIVE: {_S.REVOKING},
    _S.REVOKING: {_S.REVOKED, _S.RELEASED, _S.FAILED},
    _S.REVOKED: set[ClaimState](),
    _S.RELEASED: set[ClaimState](),
    _S.FAILED: set[ClaimState](),
}
"""The only ways. Nothing leaves GRANTING but through AWS: to ACTIVE by read-back, or to REVOKING."""

OPEN: Final = frozenset({_S.WAITING, _S.SCHEDULED, _S.GRANTING, _S.ACTIVE})
"""Not ended yet; also spelt out in the statements and partial indexes of store and migrations."""
ASKED: Final = frozenset({_S.GRANTING, _S.ACTIVE})
"""AWS was asked, or is about to be: the deadline, the re-check and the fact are committed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. `version` counts the facts about it."""

    id: str
    assignment_id: int
    instance: str
    ticket_id: str
    target_id: str
    revision: int
    user_id: str
    account_id: str
    set_id: str
    set_digest: str
    content_hash: str
    session_duration: timedelta
    starts_at: datetime
    ends_at: datetime
    state: ClaimState
    received_at: datetime
    parties: tuple[str, ...] = ()
    """User ids of the ticket's requester and beneficiaries."""
    duration_asked: timedelta = timedelta(0)
    """The length that approval rules were asked for."""
    approval_holds: bool = False
    """The votes were found to be enough by this service's own policy."""
    version: int = 0
    cause: str | None = None
    granted_at: datetime | None = None
    already_held: bool = False
    request_id: str | None = None
    ended_at: datetime | None = None
    end_cause: EndCause | None = None
    code: str | None = None
    detail: str = ""
    kept_by: tuple[str, ...] = ()
    overdue_at: datetime | None = None
    seen_at: datetime | None = None
    """When AWS first showed it after its end, though it was never granted."""
    credentials_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in OPEN

    def in_window(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def holds(self, now: datetime) -> bool:
        """Whether this claim alone is reason enough for the assignment to be there now.

        One that has not passed its re-check is none, whatever its window says.
        """
        return self.state in ASKED and self.in_window(now)
