"""A claim: a grant's interest in an assignment, its states and which may follow which; and its extensions.

Pure values. How a claim moves is in lifecycle.py, what its assignment does about it in decisions.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.contracts.access import EndCause
from shared.contracts.subject import SubjectKind

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


class ClaimExtensionState(StrEnum):
    WAITING = "waiting"
    """For its claim, its witness or the policy."""
    EXTENDED = "extended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ClaimExtension:
    """A later end for one claim, as ticket says it was approved."""

    subject_id: str
    grant_id: str
    ticket_id: str
    target_id: str
    revision: int
    instance: str
    user_id: str
    account_id: str
    set_id: str
    ended_before: datetime
    """The end as ticket knew it."""
    starts_at: datetime
    """The first start: the length counts from there."""
    ends_at: datetime
    content_hash: str
    requester: str
    """User id."""
    received_at: datetime
    state: ClaimExtensionState = ClaimExtensionState.WAITING
    code: str | None = None
    detail: str = ""
    decided_at: datetime | None = None
    cause: str | None = None

    @property
    def waits(self) -> bool:
        return self.state is ClaimExtensionState.WAITING


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. `version` counts the facts about it."""

    id: str
    assignment_id: int
    instance: str
    ticket_id: str
    target_id: str
    revision: int
    subject_id: str
    """Of the approval subject it is given for: the target in this revision."""
    user_id: str
    account_id: str
    set_id: str
    set_digest: str
    content_hash: str
    """As ticket says it was approved, of what `vouched_by` names."""
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
    extension_id: str | None = None
    """The approval subject that its end comes from, once it was extended."""
    extensions: tuple[ClaimExtension, ...] = ()
    """Those that wait, and those that were decided in this step; the nearest end first."""

    @property
    def vouched_by(self) -> tuple[SubjectKind, str]:
        """The approval subject whose witness has to agree with the claim as it is."""
        if self.extension_id is not None:
            return SubjectKind.EXTENSION, self.extension_id
        return SubjectKind.TARGET, self.subject_id

    @property
    def waiting(self) -> tuple[ClaimExtension, ...]:
        """Its extensions that are not decided yet."""
        return tuple(extension for extension in self.extensions if extension.waits)

    def extended_by(self, extension: ClaimExtension) -> "Claim":
        """As it would be with the later end; whether its approval holds is to be judged anew."""
        return replace(
            self,
            extension_id=extension.subject_id,
            content_hash=extension.content_hash,
            ends_at=extension.ends_at,
            duration_asked=extension.ends_at - self.starts_at,
            approval_holds=False,
            parties=tuple(sorted({*self.parties, extension.requester})),
        )

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in OPEN

    def in_window(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def holds(self, now: datetime) -> bool:
        """Whether this claim alone is reason enough for the assignment to be there now.

        One that has not passed its re-check is none, whatever its window says. One that has was begun in its
        window, and holds to its end although the clock was set back before its start since.
        """
        return self.state in ASKED and now < self.ends_at
