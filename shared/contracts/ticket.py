"""Facts of the ticket service: one ticket's life, each fact with the whole ticket as it then was."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from pydantic import AwareDatetime

from shared.contracts.event import About, Contract, Event, Revisions
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


FINAL_STATES: Final = frozenset({GrantState.REVOKED, GrantState.RELEASED, GrantState.FAILED})
"""Nothing follows these."""


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

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.starts_at

    def holds(self, moment: datetime) -> bool:
        return self.starts_at <= moment < self.ends_at


class WindowAsked(Contract):
    """As asked for: an open start means "when approved"; exactly one of end and duration is given."""

    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    duration: timedelta | None = None

    def length_from(self, moment: datetime) -> timedelta | None:
        """How long access lasts if it is approved at `moment`; None when neither end nor duration is given.

        Approval rules are asked for the length from the submit on.
        """
        if self.duration is not None:
            return self.duration
        if self.ends_at is not None:
            return self.ends_at - (self.starts_at or moment)
        return None

    def window_at(self, approved_at: datetime) -> Window | None:
        """The window that an approval at this moment opens; None when nothing of it is left.

        A start in the past begins now: nobody gets access for time gone by, and the end stays.
        """
        start = approved_at if self.starts_at is None else max(self.starts_at, approved_at)
        end = self.ends_at
        if end is None:
            if self.duration is None:
                return None
            end = (self.starts_at or approved_at) + self.duration
        return Window(starts_at=start, ends_at=end) if end > start else None


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
    """What keeps a released or failed access alive: other claims' ids, or `not_ours`."""
    already_held: bool = False
    """The assignment was there before and is not JIT's to remove."""
    credentials_until: AwareDatetime | None = None
    """No credential issued through this grant can live longer."""

    @property
    def is_live(self) -> bool:
        """Approved, and not at an end."""
        return self.state is not None and self.state not in FINAL_STATES


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

    @property
    def parties(self) -> frozenset[str]:
        """User ids of those it is for: who asked and who would get it. None of them decides on it."""
        return frozenset({self.requester.user_id, *(person.user_id for person in self.beneficiaries)})

    def target(self, target_id: str) -> Target | None:
        return next((target for target in self.targets if target.id == target_id), None)

    def grant(self, grant_id: str) -> Grant | None:
        return next((grant for grant in self.grants if grant.id == grant_id), None)

    def grants_of(self, target_id: str) -> tuple[Grant, ...]:
        return tuple(grant for grant in self.grants if grant.target_id == target_id)

    @property
    def pending(self) -> tuple[Target, ...]:
        """Targets that wait for their review."""
        return tuple(target for target in self.targets if target.state is TargetState.PENDING)

    @property
    def live(self) -> tuple[Grant, ...]:
        """Grants that were approved and have not reached an end."""
        return tuple(grant for grant in self.grants if grant.is_live)


class TicketFact(Event):
    """Base of ticket facts. What a fact is about is asked of it, so that all readers agree."""

    ticket: Ticket
    target_ids: tuple[str, ...] = ()
    grant_ids: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets it is about: those it names and those of the grants it names; all if it names none."""
        of_grants = {grant.target_id for grant in self.ticket.grants if grant.id in self.grant_ids}
        named = {*self.target_ids, *of_grants}
        if not self.target_ids and not self.grant_ids:
            return self.ticket.targets
        return tuple(target for target in self.ticket.targets if target.id in named)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants it is about: those it names and those of the targets it names; all if it names none."""
        if not self.target_ids and not self.grant_ids:
            return self.ticket.grants
        return tuple(
            grant
            for grant in self.ticket.grants
            if grant.id in self.grant_ids or grant.target_id in self.target_ids
        )

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts it is about, sorted, each once."""
        return tuple(sorted({target.account_id for target in self.targets}))

    @property
    def holders(self) -> tuple[Person, ...]:
        """The beneficiaries it is about, in the ticket's order."""
        concerned = {grant.beneficiary for grant in self.grants}
        return tuple(person for person in self.ticket.beneficiaries if person.user_id in concerned)

    @property
    def about(self) -> About:
        return About(self.ticket.id, self.account_ids, tuple(sorted(self.ticket.parties)))


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
