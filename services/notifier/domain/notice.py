"""Which fact is news for whom: the one table of the notifier. Pure.

News about a ticket's state comes from `ticket.*` and `access.*` only; of the reviews only the opening of
a stage is mailed, to those who may vote on it. Not mailed: `access.granting` and `access.revoke_due`
(granted and revoked follow within seconds), `review.*` otherwise (the ticket's own fact follows).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.contracts import access, approval, ticket
from shared.contracts.event import Event
from shared.contracts.people import Person
from shared.contracts.ticket import Ticket


class Template(StrEnum):
    SUBMITTED = "submitted"
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
    REVOKED = "revoked"
    RELEASED = "released"
    REVOKE_OVERDUE = "revoke_overdue"
    CLOSED = "closed"


@dataclass(frozen=True)
class Recipient:
    """Somebody to be told. `address` is what the fact knew; the inventory's, at sending time, comes first."""

    user_id: str
    address: str | None = None


@dataclass(frozen=True)
class Notice:
    """A fact that is news: what is written, and to whom."""

    template: Template
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True)
class _Row:
    template: Template
    audience: Callable[[Event, Ticket | None], tuple[Recipient, ...]]
    is_news: Callable[[Event, Ticket | None], bool] = lambda _event, _ticket: True


def notice_of(event: Event, known: Ticket | None) -> Notice | None:
    """What a fact gives rise to; `known` is its ticket, None while nobody has heard of it. None: no mail."""
    row = TABLE.get(type(event))
    if row is None or not row.is_news(event, known):
        return None
    recipients = row.audience(event, known)
    return Notice(row.template, recipients) if recipients else None


def ticket_id_of(event: Event) -> str:
    """The ticket a fact of the table is about."""
    if isinstance(event, ticket.TicketFact):
        return event.ticket.id
    if isinstance(event, access.AccessFact | approval.ReviewFact):
        return event.ticket_id
    raise TypeError(f"{event.TYPE} is about no ticket; this is a bug in the table of notices")


def concerned(event: ticket.TicketFact) -> tuple[ticket.Target, ...]:
    """The targets a ticket fact is about: those it names, or all."""
    whole = event.ticket
    named = set(event.target_ids)
    named |= {grant.target_id for grant in whole.grants if grant.id in event.grant_ids}
    return tuple(target for target in whole.targets if not named or target.id in named)


def holders(event: ticket.TicketFact) -> tuple[Person, ...]:
    """The beneficiaries a ticket fact is about."""
    targets = {target.id for target in concerned(event)}
    touched = {
        grant.beneficiary
        for grant in event.ticket.grants
        if grant.target_id in targets and (not event.grant_ids or grant.id in event.grant_ids)
    }
    return tuple(one for one in event.ticket.beneficiaries if not touched or one.user_id in touched)


def _parties(event: Event, _known: Ticket | None) -> tuple[Recipient, ...]:
    """Requester and beneficiaries of what a ticket fact is about, each once."""
    if not isinstance(event, ticket.TicketFact):
        return ()
    return _each_once(event.ticket.requester, *holders(event))


def _holder(event: Event, known: Ticket | None) -> tuple[Recipient, ...]:
    """The one who has the access and the one who asked for it; without the ticket the former alone."""
    if not isinstance(event, access.AccessFact):
        return ()
    if known is None:
        return (Recipient(event.user_id),)
    people = {person.user_id: person for person in (*known.beneficiaries, known.requester)}
    address = usable(people[event.user_id].email) if event.user_id in people else None
    others = [one for one in _each_once(known.requester) if one.user_id != event.user_id]
    return (Recipient(event.user_id, address), *others)


def _approvers(event: Event, _known: Ticket | None) -> tuple[Recipient, ...]:
    return _each_once(*event.approvers) if isinstance(event, approval.ReviewStageOpened) else ()


def _each_once(*people: Person) -> tuple[Recipient, ...]:
    return tuple(
        {person.user_id: Recipient(person.user_id, usable(person.email)) for person in people}.values()
    )


def usable(address: str | None) -> str | None:
    """None for what no mail address looks like: empty, or with line breaks and the like in it."""
    return address if address and address.isprintable() else None


def _starts_later(event: Event, _known: Ticket | None) -> bool:
    """An access that starts at once is told of as granted, seconds later."""
    return isinstance(event, access.AccessScheduled) and event.starts_at > event.at


def _had_access(event: Event, _known: Ticket | None) -> bool:
    """A ticket that never gave access was already told of as rejected, withdrawn, failed..."""
    return isinstance(event, ticket.TicketFact) and any(
        grant.granted_at is not None for grant in event.ticket.grants
    )


TABLE: Mapping[type[Event], _Row] = {
    ticket.TicketSubmitted: _Row(Template.SUBMITTED, _parties),
    ticket.TicketApproved: _Row(Template.APPROVED, _parties),
    ticket.TicketRejected: _Row(Template.REJECTED, _parties),
    ticket.TicketTimedOut: _Row(Template.TIMED_OUT, _parties),
    ticket.TicketWithdrawn: _Row(Template.WITHDRAWN, _parties),
    ticket.TicketTerminated: _Row(Template.TERMINATED, _parties),
    ticket.TicketReturned: _Row(Template.RETURNED, _parties),
    ticket.TicketClosed: _Row(Template.CLOSED, _parties, _had_access),
    approval.ReviewStageOpened: _Row(Template.APPROVAL_NEEDED, _approvers),
    access.AccessScheduled: _Row(Template.SCHEDULED, _holder, _starts_later),
    access.AccessGranted: _Row(Template.GRANTED, _holder),
    access.AccessFailed: _Row(Template.FAILED, _holder),
    access.AccessRevoked: _Row(Template.REVOKED, _holder),
    access.AccessReleased: _Row(Template.RELEASED, _holder),
    access.AccessRevokeOverdue: _Row(Template.REVOKE_OVERDUE, _holder),
}
"""Event type -> what is written to whom, and when it is news."""
