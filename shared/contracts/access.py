"""Facts of the provisioner: what AWS was made to do, and what it was read back to say."""

from datetime import timedelta
from typing import ClassVar

from pydantic import AwareDatetime

from shared.contracts.event import About, Event
from shared.contracts.words import Word


class EndCause(Word):
    """Why a claim is over, and the code of a grant that ended by it."""

    EXPIRED = "expired"
    """Its window is over."""
    TERMINATED = "terminated"
    """An approver of the target or an administrator stopped it."""
    RETURNED = "returned"
    """The beneficiary gave it back."""
    WITHDRAWN = "withdrawn"
    """The requester dropped it."""
    REVOKED_BY_OPERATOR = "revoked_by_operator"
    """An administrator ended all access of a ticket, a user or an account."""
    FAILED = "failed"
    """It could not be granted."""

    @property
    def is_stop(self) -> bool:
        """Whether somebody ended it, rather than time or a failure."""
        return self not in {EndCause.EXPIRED, EndCause.FAILED}


def is_stop(code: str | None) -> bool:
    """Whether a grant's code says that somebody ended it; other codes say why it failed."""
    return code in {cause.value for cause in EndCause if cause.is_stop}


class AccessFact(Event):
    """Base of access facts. `subject` is the ticket id; `version` counts the claim's facts."""

    ticket_id: str
    grant_id: str
    target_id: str
    instance: str
    user_id: str
    account_id: str
    set_id: str
    ends_at: AwareDatetime

    @property
    def about(self) -> About:
        return About(self.ticket_id, (self.account_id,), (self.user_id,))


class AccessScheduled(AccessFact):
    """The claim is stored with its end; nothing was asked of AWS yet."""

    TYPE: ClassVar[str] = "access.scheduled.v1"

    starts_at: AwareDatetime


class AccessGranting(AccessFact):
    """Written ahead of the call."""

    TYPE: ClassVar[str] = "access.granting.v1"


class AccessGranted(AccessFact):
    """Read back from AWS: the assignment is there."""

    TYPE: ClassVar[str] = "access.granted.v1"

    request_id: str | None = None
    """AWS's id of the creation; None when the assignment was already there."""
    already_held: bool = False
    credentials_until: AwareDatetime


class AccessFailed(AccessFact):
    """Never granted, and verified absent, never asked for, or there for another reason (`kept_by`)."""

    TYPE: ClassVar[str] = "access.failed.v1"

    code: str
    """Why; for a grant that ended before it was given, the cause of its end."""
    detail: str = ""
    request_id: str | None = None
    """AWS's id of the creation, where one was taken."""
    kept_by: tuple[str, ...] = ()
    """The access is there all the same: other claims' ids, or `not_ours`."""
    credentials_until: AwareDatetime | None = None
    """Only where AWS showed it after its end, before it was taken away."""


class AccessExtended(AccessFact):
    """The end has moved to `ends_at`; before this nothing lasts longer than it was first approved for."""

    TYPE: ClassVar[str] = "access.extended.v1"

    subject_id: str
    """Of the extension."""
    ended_before: AwareDatetime
    """The end until now."""
    credentials_until: AwareDatetime


class AccessExtensionFailed(AccessFact):
    """An approved extension moves nothing here; access ends at `ends_at`, as before, or has ended."""

    TYPE: ClassVar[str] = "access.extension_failed.v1"

    subject_id: str
    """Of the extension."""
    code: str
    detail: str = ""


class AccessRevokeDue(AccessFact):
    """The claim is over: by its end (the expiry producer), or by a stop."""

    TYPE: ClassVar[str] = "access.revoke_due.v1"

    cause_of_end: EndCause
    late_by: timedelta = timedelta(0)


class AccessRevoked(AccessFact):
    """It was granted. Read back from AWS, several times over the settle time: the assignment is gone."""

    TYPE: ClassVar[str] = "access.revoked.v1"

    cause_of_end: EndCause
    request_id: str | None = None
    late_by: timedelta = timedelta(0)
    """From the end of the claim to the first read-back without the assignment."""
    credentials_until: AwareDatetime | None = None
    also_through: tuple[str, ...] = ()
    """Ids of the user's groups that hold the same account and set: the access goes on through these."""


class AccessReleased(AccessFact):
    """It was granted and ended, but the access remains; `kept_by` says because of what."""

    TYPE: ClassVar[str] = "access.released.v1"

    cause_of_end: EndCause
    kept_by: tuple[str, ...]
    credentials_until: AwareDatetime | None = None


class AccessRevokeOverdue(AccessFact):
    """A revoke is late beyond the objective. It is retried for ever; this is the noise it makes."""

    TYPE: ClassVar[str] = "access.revoke_overdue.v1"

    overdue_by: timedelta
    last_error: str = ""
