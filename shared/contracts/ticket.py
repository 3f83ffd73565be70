"""Facts of the ticket service: one ticket's life, each fact with the whole ticket as it then was."""

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime

from shared.contracts.event import Contract, Event, Revisions
from shared.contracts.people import Person


class TargetState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"


class GrantState(StrEnum):
    SCHEDULED = "scheduled"
    GRANTING = "granting"
    ACTIVE = "active"
    REVOKING = "revoking"
    REVOKED = "revoked"
    RELEASED = "released"
    FAILED = "failed"


class TicketState(StrEnum):
    """For display; derived from targets and grants by the ticket service, never decided on."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    GRANTING = "granting"
    ACTIVE = "active"
    REVOKING = "revoking"
    ENDED = "ended"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"
    CLOSED = "closed"


class Window(Contract):
    """A window as approved: `starts_at <= t < ends_at`."""

    starts_at: AwareDatetime
    ends_at: AwareDatetime


class WindowAsked(Contract):
    """As asked for: an open start means "when approved"; exactly one of end and duration is given."""

    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    duration: timedelta | None = None


class Target(Contract):
    """An account and a permission set inside a ticket, reviewed on its own."""

    id: str
    account_id: str
    account_name: str
    set_id: str
    set_name: str
    set_digest: str
    """Digest of the set's policies when asked; approval and grant hold for these policies only."""
    set_group: str | None = None
    """The set group it was asked through, if any."""
    session_duration: timedelta
    state: TargetState = TargetState.PENDING
    revision: int = 1
    window: Window | None = None
    """As approved; absent before."""
    decided_at: AwareDatetime | None = None


class Grant(Contract):
    """A beneficiary on a target: one assignment to be made and taken away. Its id is its claim's id."""

    id: str
    target_id: str
    beneficiary: str
    """Identity Store user id."""
    state: GrantState | None = None
    """None until the target is approved."""
    code: str | None = None
    """Why it failed, or what ended it (expired, terminated, returned, withdrawn)."""
    detail: str = ""
    granted_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    kept_by: tuple[str, ...] = ()
    """What keeps a released access alive: other claims' ids, or `not_ours`."""
    already_held: bool = False
    """The assignment was there before and is not JIT's to remove."""
    credentials_until: AwareDatetime | None = None
    """No credential issued through this grant can live longer."""


class Ticket(Contract):
    """One request, whole."""

    id: str
    instance: str
    version: int
    revision: int
    requester: Person
    beneficiaries: tuple[Person, ...]
    targets: tuple[Target, ...]
    grants: tuple[Grant, ...]
    asked: WindowAsked
    reason: str
    reference: str | None = None
    submitted_at: AwareDatetime
    expires_at: AwareDatetime
    """When pending targets time out."""
    state: TicketState
    credentials_until: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    revisions: Revisions = Revisions()
    """The policy's documents at submit."""


class TicketFact(Event):
    """Base of ticket facts; `target_ids` names what the fact is about (all targets where empty)."""

    ticket: Ticket
    target_ids: tuple[str, ...] = ()
    grant_ids: tuple[str, ...] = ()


class TicketSubmitted(TicketFact):
    TYPE: ClassVar[str] = "ticket.submitted.v1"

    allowed_by: tuple[str, ...] = ()
    """Ids of the access scopes that permitted it."""


class TicketApproved(TicketFact):
    """One target was approved. The provisioner grants from this, and only with approval's own witness."""

    TYPE: ClassVar[str] = "ticket.approved.v1"

    content_hash: str
    """shared/contracts/witness.py over what was approved."""


class TicketRejected(TicketFact):
    TYPE: ClassVar[str] = "ticket.rejected.v1"


class TicketTimedOut(TicketFact):
    TYPE: ClassVar[str] = "ticket.timed_out.v1"


class TicketWithdrawn(TicketFact):
    TYPE: ClassVar[str] = "ticket.withdrawn.v1"


class TicketTerminated(TicketFact):
    """A stop: applied by every reader whatever its version or order."""

    TYPE: ClassVar[str] = "ticket.terminated.v1"


class TicketReturned(TicketFact):
    """A stop: applied by every reader whatever its version or order."""

    TYPE: ClassVar[str] = "ticket.returned.v1"


class TicketClosed(TicketFact):
    """No credential that came from this ticket can live any more."""

    TYPE: ClassVar[str] = "ticket.closed.v1"
