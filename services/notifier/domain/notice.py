"""Which fact is mailed to whom: the one table of the notifier. Pure.

What became of a ticket is mailed from `ticket.*` and `access.*` only; of the reviews only the opening of a
stage is mailed, to those who may vote on it. Not mailed: `access.granting` and `access.revoke_due` (granted
and revoked follow within seconds), `ticket.extension_approved` (whether the end has moved follows),
`review.*` otherwise (the ticket's own fact follows), first sights and conflicts (operations are alerted).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.notifier.domain.known import KnownTicket, learn
from shared.contracts import access, approval, identity, stop, ticket
from shared.contracts.approval import ExtensionEnd
from shared.contracts.event import Event
from shared.contracts.people import Person
from shared.contracts.ticket import Part, Ticket
from shared.foundation.errors import Bug


class Template(StrEnum):
    """The kinds of mail; facts of one kind about one ticket are gathered into one mail a person."""

    SUBMITTED = "submitted"
    REVISED = "revised"
    APPROVAL_NEEDED = "approval_needed"
    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"
    TERMINATED = "terminated"
    RETURNED = "returned"
    SCHEDULED = "scheduled"
    GRANTED = "granted"
    FAILED = "failed"
    EXTENSION_REQUESTED = "extension_requested"
    EXTENSION_REJECTED = "extension_rejected"
    EXTENDED = "extended"
    EXTENSION_FAILED = "extension_failed"
    REVOKED = "revoked"
    RELEASED = "released"
    REVOKE_OVERDUE = "revoke_overdue"
    CLOSED = "closed"
    REBOUND = "rebound"


URGENT: Final = frozenset({Template.TERMINATED, Template.REVOKED, Template.REVOKE_OVERDUE})
"""These wait for no earlier mail of the ticket, which may be refused for hours."""


@dataclass(frozen=True)
class Recipient:
    """Who gets a mail. `address` is what the fact knew; the inventory's, at sending time, comes first."""

    user_id: str
    address: str | None = None


@dataclass(frozen=True)
class Notice:
    """A fact that is mailed, as it is kept until its mail is written."""

    id: str
    event_id: str
    event: Event
    known: KnownTicket | None
    """Its ticket as it was known when the fact came; None while too little of it is known, and for a fact of
    no ticket."""

    @property
    def ticket(self) -> Ticket | None:
        return None if self.known is None else self.known.ticket

    @property
    def ticket_id(self) -> str | None:
        """None where it is about a person alone."""
        return self.event.about.ticket_id


@dataclass(frozen=True)
class Mailing:
    """What a fact gives rise to: which kind of mail, to whom."""

    template: Template
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True)
class _Row:
    template: Template
    audience: Callable[[Event, Ticket | None], tuple[Recipient, ...]]
    is_mailed: Callable[[Event], bool] = lambda _event: True


def mailing_of(event: Event, known: Ticket | None) -> Mailing | None:
    """Who is mailed about a fact; `known` is its ticket, None while no fact of it has come. None: nobody."""
    row = TABLE.get(type(event))
    if row is None or not row.is_mailed(event):
        return None
    recipients = row.audience(event, known)
    return Mailing(row.template, recipients) if recipients else None


def is_to_nobody_yet(event: Event, known: Ticket | None) -> bool:
    """Whether only the ticket will say who is mailed: so with a stop that could be read by its ids alone."""
    return known is None and isinstance(event, stop.StopFact)


def ticket_id_of(event: Event) -> str:
    """The ticket a fact is about that is mailed with its ticket."""
    ticket_id = event.about.ticket_id
    if ticket_id is None:
        raise Bug(f"{event.TYPE} is about no ticket; this is a bug in the table of notices", code="no_ticket")
    return ticket_id


def ticket_in(event: Event) -> Ticket | None:
    """What of its ticket a fact brings along; a stop's may be unreadable."""
    return event.ticket if isinstance(event, ticket.TicketFact | stop.StopFact) else None


def part_of(event: Event, known: Ticket | None) -> Part | None:
    """What of its ticket a fact of the ticket service is about, by the ticket it brings or that is known."""
    if isinstance(event, ticket.TicketFact):
        return event.part
    whole = ticket_in(event) or known
    return event.part_of(whole) if isinstance(event, stop.StopFact) and whole else None


def known_for(event: Event, known: KnownTicket | None) -> KnownTicket | None:
    """What is known of a fact's ticket, with what the fact itself brings; None: the fact waits for more.

    A review is only understood with its target as it was when the review began.
    """
    if brought := ticket_in(event):
        return learn(known, brought)
    if known is None or not isinstance(event, approval.ReviewFact):
        return known
    return known if known.version_of(event.target_id) >= event.ticket_version else None


def more_may_follow(event: Event, known: Ticket | None, user_id: str) -> bool:
    """Whether another fact of this kind about the ticket may concern the person: their mail waits for it.

    What somebody stopped, and what is late, is told at once.
    """
    if _is_told_at_once(event):
        return False
    if known is None:
        return True
    if part := part_of(event, known):
        return len(part.grants) < len(known.grants) or len(part.targets) < len(known.targets)
    if isinstance(event, access.AccessFact):
        everything = user_id == known.requester.user_id
        return sum(everything or grant.beneficiary == user_id for grant in known.grants) > 1
    return len(known.targets) > 1


def _is_told_at_once(event: Event) -> bool:
    if isinstance(event, access.AccessRevoked):
        return access.is_stop(event.cause_of_end)
    return isinstance(event, stop.TicketTerminated | access.AccessRevokeOverdue | identity.IdentityRebound)


def _parties(event: Event, known: Ticket | None) -> tuple[Recipient, ...]:
    """Requester and beneficiaries of what a ticket fact or a stop is about, each once."""
    whole, part = ticket_in(event) or known, part_of(event, known)
    if whole is None or part is None:
        return ()
    return _each_once(whole.requester, *part.holders)


def _extension_parties(event: Event, _known: Ticket | None) -> tuple[Recipient, ...]:
    """Who asked for the access, who asks for the later end, and whose access it is: each once.

    Where some of the access was stopped, those whose access goes on: the others read it of the stop.
    """
    extension = event.extension if isinstance(event, ticket.ExtensionFact) else None
    if not isinstance(event, ticket.ExtensionFact) or extension is None:
        return ()
    concerned = [grant for grant in event.ticket.grants if grant.id in extension.grants]
    if isinstance(event, ticket.TicketExtensionRejected) and event.code is ExtensionEnd.STOPPED:
        return _each_once(*_holders(event.ticket, [grant for grant in concerned if _goes_on(grant)]))
    asking = (event.ticket.requester, extension.requested_by)
    return _each_once(*asking, *_holders(event.ticket, concerned))


def _holders(whole: Ticket, grants: Collection[ticket.Grant]) -> tuple[Person, ...]:
    whose = {grant.beneficiary for grant in grants}
    return tuple(person for person in whole.beneficiaries if person.user_id in whose)


def _goes_on(grant: ticket.Grant) -> bool:
    return grant.is_live and not access.is_stop(grant.code)


def _holder(event: Event, known: Ticket | None) -> tuple[Recipient, ...]:
    """Who has the access and who asked for it; without the ticket the former alone."""
    if not isinstance(event, access.AccessFact):
        return ()
    if known is None:
        return (Recipient(event.user_id),)
    people = {person.user_id: person for person in (*known.beneficiaries, known.requester)}
    address = usable(people[event.user_id].email) if event.user_id in people else None
    others = [one for one in _each_once(known.requester) if one.user_id != event.user_id]
    return (Recipient(event.user_id, address), *others)


def _rebound(event: Event, _known: Ticket | None) -> tuple[Recipient, ...]:
    """Whose sign-in it is now, and whose it was: either may know that this is wrong."""
    if not isinstance(event, identity.IdentityRebound):
        return ()
    return tuple(Recipient(user_id) for user_id in (event.user_id, event.bound_user_id) if user_id)


def _approvers(event: Event, _known: Ticket | None) -> tuple[Recipient, ...]:
    return _each_once(*event.approvers) if isinstance(event, approval.ReviewStageOpened) else ()


def _each_once(*people: Person) -> tuple[Recipient, ...]:
    return tuple(
        {person.user_id: Recipient(person.user_id, usable(person.email)) for person in people}.values()
    )


def usable(address: str | None) -> str | None:
    """None for what no mail address looks like: empty, or with line breaks and the like in it."""
    return address if address and address.isprintable() else None


def _starts_later(event: Event) -> bool:
    """An access that starts at once is mailed as granted, seconds later."""
    return isinstance(event, access.AccessScheduled) and event.starts_at > event.at


def _had_access(event: Event) -> bool:
    """A ticket that never gave access was already mailed as rejected, withdrawn, failed..."""
    return isinstance(event, ticket.TicketFact) and any(
        grant.granted_at is not None for grant in event.ticket.grants
    )


TABLE: Mapping[type[Event], _Row] = {
    ticket.TicketSubmitted: _Row(Template.SUBMITTED, _parties),
    ticket.TicketRevised: _Row(Template.REVISED, _parties),
    ticket.TicketApproved: _Row(Template.APPROVED, _parties),
    ticket.TicketRejected: _Row(Template.REJECTED, _parties),
    ticket.TicketTimedOut: _Row(Template.TIMED_OUT, _parties),
    stop.TicketWithdrawn: _Row(Template.WITHDRAWN, _parties),
    stop.TicketTerminated: _Row(Template.TERMINATED, _parties),
    stop.TicketReturned: _Row(Template.RETURNED, _parties),
    ticket.TicketClosed: _Row(Template.CLOSED, _parties, _had_access),
    ticket.TicketExtensionRequested: _Row(Template.EXTENSION_REQUESTED, _extension_parties),
    ticket.TicketExtensionRejected: _Row(Template.EXTENSION_REJECTED, _extension_parties),
    approval.ReviewStageOpened: _Row(Template.APPROVAL_NEEDED, _approvers),
    access.AccessScheduled: _Row(Template.SCHEDULED, _holder, _starts_later),
    access.AccessGranted: _Row(Template.GRANTED, _holder),
    access.AccessFailed: _Row(Template.FAILED, _holder),
    access.AccessExtended: _Row(Template.EXTENDED, _holder),
    access.AccessExtensionFailed: _Row(Template.EXTENSION_FAILED, _holder),
    access.AccessRevoked: _Row(Template.REVOKED, _holder),
    access.AccessReleased: _Row(Template.RELEASED, _holder),
    access.AccessRevokeOverdue: _Row(Template.REVOKE_OVERDUE, _holder),
    identity.IdentityRebound: _Row(Template.REBOUND, _rebound),
}
"""Event type -> which mail to whom, and whether this fact is mailed at all."""
