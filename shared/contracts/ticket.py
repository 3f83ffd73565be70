"""Facts of the ticket service: one ticket's life, each fact with what it is about as that then was."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple

from pydantic import AwareDatetime

from shared.contracts.approval import ExtensionEnd
from shared.contracts.description import Description
from shared.contracts.event import About, Contract, Event, Revisions
from shared.contracts.extension import Extension
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject, SubjectGrant, SubjectKind
from shared.contracts.windows import Window, WindowAsked
from shared.contracts.words import Word


class TargetState(Word):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"


class GrantState(Word):
    SCHEDULED = "scheduled"
    GRANTING = "granting"
    ACTIVE = "active"
    REVOKING = "revoking"
    REVOKED = "revoked"
    RELEASED = "released"
    FAILED = "failed"


FINAL_STATES: Final = frozenset({GrantState.REVOKED, GrantState.RELEASED, GrantState.FAILED})
"""Nothing follows these."""


class TicketState(Word):
    """For display; derived from targets and grants by the ticket service, never decided on."""

    @property
    def is_decided_on(self) -> bool:
        return False

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


class Target(Contract):
    """An account and a permission set inside a ticket, as it is in its current revision.

    Each revision is reviewed on its own; earlier ones are rows of the ticket service.
    """

    id: str
    account_id: str
    account_name: str
    set_id: str
    set_name: str
    set_group: str | None = None
    """The set group it was asked through, if any."""
    revision: int = 1
    subject_id: str
    """Of this revision's approval subject."""
    set_digest: str
    """Digest of the set's policies when asked; approval and grant hold for these policies only."""
    session_duration: timedelta
    asked: WindowAsked
    reason: str
    submitted_at: AwareDatetime
    expires_at: AwareDatetime
    """When it times out without a decision."""
    state: TargetState = TargetState.PENDING
    window: Window | None = None
    """As approved; absent before."""
    decided_at: AwareDatetime | None = None


class Grant(Contract):
    """A beneficiary on a target: one assignment to be made and taken away. Its id is its claim's id."""

    id: str
    target_id: str
    revision: int = 1
    """The target's; a new revision has new grants."""
    beneficiary: str
    """Identity Store user id."""
    ends_at: AwareDatetime | None = None
    """As approved, and later once it is extended; None before."""
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


class Part(NamedTuple):
    """What of a ticket a fact is about."""

    targets: tuple[Target, ...]
    grants: tuple[Grant, ...]
    holders: tuple[Person, ...]
    """The beneficiaries of these grants, in the ticket's order."""

    @property
    def account_ids(self) -> tuple[str, ...]:
        """Sorted, each once."""
        return tuple(sorted({target.account_id for target in self.targets}))


class Ticket(Description):
    """One request: whole where it is kept, and in facts an excerpt of it."""

    id: str
    instance: str
    version: int
    requester: Person
    beneficiaries: tuple[Person, ...]
    targets: tuple[Target, ...]
    grants: tuple[Grant, ...]
    """Of the targets' current revisions."""
    extensions: tuple[Extension, ...] = ()
    submitted_at: AwareDatetime
    state: TicketState
    credentials_until: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    revisions: Revisions = Revisions()
    """The policy's documents at the newest request."""

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

    def extension(self, extension_id: str) -> Extension | None:
        return next((one for one in self.extensions if one.id == extension_id), None)

    def part(self, target_ids: Collection[str], grant_ids: Collection[str]) -> Part:
        """The grants and targets that are named, with each other's."""
        grants = [one for one in self.grants if one.id in grant_ids or one.target_id in target_ids]
        concerned = {*target_ids, *(grant.target_id for grant in grants)}
        whose = {grant.beneficiary for grant in grants}
        return Part(
            targets=tuple(target for target in self.targets if target.id in concerned),
            grants=tuple(grants),
            holders=tuple(person for person in self.beneficiaries if person.user_id in whose),
        )

    def as_told(self, target_ids: Collection[str], grant_ids: Collection[str]) -> "Ticket":
        """What a fact about these carries of it: an excerpt, and all where none is named."""
        if not target_ids and not grant_ids:
            return self
        return self.excerpt([target.id for target in self.part(target_ids, grant_ids).targets])

    def excerpt(self, target_ids: Collection[str]) -> "Ticket":
        """Its head, and of the rest these targets only, each with all its grants and extensions.

        So what is asked about one of these targets has the same answer as of the whole ticket.
        """
        return self.model_copy(
            update={
                "targets": tuple(target for target in self.targets if target.id in target_ids),
                "grants": tuple(grant for grant in self.grants if grant.target_id in target_ids),
                "extensions": tuple(one for one in self.extensions if one.target_id in target_ids),
            }
        )

    @property
    def last_end(self) -> datetime:
        """None of its access, as it is asked for or approved by now, ends later than this."""
        windows = (target.window or target.asked.window_at(target.expires_at) for target in self.targets)
        ends = [window.ends_at for window in windows if window]
        ends += [target.expires_at for target in self.targets]
        ends += [grant.ends_at for grant in self.grants if grant.ends_at]
        return max([*ends, *(extension.ends_at for extension in self.extensions)])

    @property
    def reason(self) -> str:
        """As its newest revision gives it, for people's eyes."""
        return max(self.targets, key=lambda target: target.submitted_at).reason

    def subject_of(self, target: Target) -> ApprovalSubject:
        """What a review of the target in its current revision is about."""
        return self._subject(
            target,
            kind=SubjectKind.TARGET,
            id=target.subject_id,
            requester=self.requester,
            grants=self.grants_of(target.id),
            asked=target.asked,
            reason=target.reason,
            submitted_at=target.submitted_at,
            expires_at=target.expires_at,
        )

    def extension_subject(self, extension: Extension) -> ApprovalSubject | None:
        """What a review of the extension is about; None when its target was revised or never approved."""
        target = self.target(extension.target_id)
        if target is None or target.window is None or target.revision != extension.revision:
            return None
        return self._subject(
            target,
            kind=SubjectKind.EXTENSION,
            id=extension.id,
            requester=extension.requested_by,
            other_parties=self._other_parties(extension),
            grants=[grant for grant in self.grants if grant.id in extension.grants],
            asked=WindowAsked(starts_at=target.window.starts_at, ends_at=extension.ends_at),
            reason=extension.reason,
            submitted_at=extension.submitted_at,
            expires_at=extension.expires_at,
        )

    def _other_parties(self, extension: Extension) -> tuple[Person, ...]:
        """Requester and beneficiaries of the ticket whom the extension itself does not name."""
        named = {
            extension.requested_by.user_id,
            *(grant.beneficiary for grant in self.grants if grant.id in extension.grants),
        }
        everybody = {person.user_id: person for person in (self.requester, *self.beneficiaries)}
        return tuple(person for user_id, person in everybody.items() if user_id not in named)

    def _subject(self, target: Target, *, grants: Iterable[Grant], **own: Any) -> ApprovalSubject:
        concerned = [SubjectGrant(id=grant.id, beneficiary=grant.beneficiary) for grant in grants]
        whose = {grant.beneficiary for grant in concerned}
        return ApprovalSubject(
            instance=self.instance,
            ticket_id=self.id,
            target_id=target.id,
            revision=target.revision,
            beneficiaries=tuple(person for person in self.beneficiaries if person.user_id in whose),
            grants=tuple(concerned),
            account_id=target.account_id,
            account_name=target.account_name,
            set_id=target.set_id,
            set_name=target.set_name,
            set_digest=target.set_digest,
            set_group=target.set_group,
            session_duration=target.session_duration,
            **dict(self.description()),
            **own,
        )

    @property
    def pending(self) -> tuple[Target, ...]:
        """Targets that wait for their review."""
        return tuple(target for target in self.targets if target.state is TargetState.PENDING)

    @property
    def live(self) -> tuple[Grant, ...]:
        """Grants that were approved and have not reached an end."""
        return tuple(grant for grant in self.grants if grant.is_live)


class TicketFact(Event):
    """Base of ticket facts. What a fact is about is asked of it, so that all readers agree.

    Those that take access away are none of these: shared/contracts/stop.py.
    """

    ticket: Ticket
    """As it was after this: its head, and of the rest only the targets that this is about, each with all its
    grants and extensions. Whole where no target and no grant is named."""
    target_ids: tuple[str, ...] = ()
    grant_ids: tuple[str, ...] = ()

    @property
    def part(self) -> Part:
        """What it is about: the targets and grants it names, with each other's; all if it names none."""
        if not self.target_ids and not self.grant_ids:
            return self.ticket.part([target.id for target in self.ticket.targets], ())
        return self.ticket.part(self.target_ids, self.grant_ids)

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.part.targets

    @property
    def grants(self) -> tuple[Grant, ...]:
        return self.part.grants

    @property
    def about(self) -> About:
        return About(self.ticket.id, self.part.account_ids, tuple(sorted(self.ticket.parties)))


class TicketSubmitted(TicketFact):
    TYPE: ClassVar[str] = "ticket.submitted.v1"

    allowed_by: tuple[str, ...] = ()
    """Ids of the access scopes that permitted it."""


class TicketRevised(TicketFact):
    """Rejected or timed-out targets were asked for again, with new subjects and grants."""

    TYPE: ClassVar[str] = "ticket.revised.v1"


class TicketApproved(TicketFact):
    """One target was approved. The provisioner grants from this, and only with approval's own witness."""

    TYPE: ClassVar[str] = "ticket.approved.v1"

    content_hash: str
    """Of the subject, for the window that was approved."""


class TicketRejected(TicketFact):
    TYPE: ClassVar[str] = "ticket.rejected.v1"


class TicketTimedOut(TicketFact):
    TYPE: ClassVar[str] = "ticket.timed_out.v1"


class TicketClosed(TicketFact):
    """No credential that came from this ticket can live any more."""

    TYPE: ClassVar[str] = "ticket.closed.v1"


class ExtensionFact(TicketFact):
    """Base of the facts about one extension; `target_ids` and `grant_ids` name what it extends."""

    extension_id: str

    @property
    def extension(self) -> Extension | None:
        return self.ticket.extension(self.extension_id)


class TicketExtensionRequested(ExtensionFact):
    TYPE: ClassVar[str] = "ticket.extension_requested.v1"


class TicketExtensionApproved(ExtensionFact):
    """The provisioner moves the end from this, and only with approval's own witness."""

    TYPE: ClassVar[str] = "ticket.extension_approved.v1"

    content_hash: str
    """Of the subject, for the window that was approved."""


class TicketExtensionRejected(ExtensionFact):
    """No later end: approvers said no, nobody decided in time, or the access was stopped."""

    TYPE: ClassVar[str] = "ticket.extension_rejected.v1"

    code: ExtensionEnd
