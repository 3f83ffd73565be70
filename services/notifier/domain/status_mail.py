"""The mails that tell requester and beneficiaries how their ticket stands. Pure.

The sentences are in sentences.py; the rows under them say what exactly it is about.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from services.notifier.domain.content import (
    AUTHORIZATION,
    Addresses,
    Content,
    ContentRow,
    Documents,
    and_more,
    passage,
    row,
    section,
    span,
    utc,
    who,
    who_is,
)
from services.notifier.domain.listing import item, list_items
from services.notifier.domain.notice import Template, part_of
from services.notifier.domain.sentences import ENDED_BY, Words, access_words, ticket_words
from services.notifier.domain.wording import (
    access_name,
    access_name_of,
    asked_end,
    between,
    credentials_row,
    described,
    subject_of,
    window_text,
)
from shared.contracts import access
from shared.contracts.stop import StopFact
from shared.contracts.ticket import (
    ExtensionFact,
    Part,
    Target,
    Ticket,
    TicketExtensionRejected,
    TicketFact,
)


def ticket_status(
    events: Sequence[TicketFact | StopFact], template: Template, ticket: Ticket, addresses: Addresses
) -> Content:
    """From the ticket service: about one, some or all of a ticket's targets. `ticket` is the newest known."""
    parts = [(event, part) for event in events if (part := part_of(event, ticket))]
    items = [
        item(access_name(target), _rows(event, part, target, ticket, template))
        for event, part in parts
        for target in part.targets
    ]
    words = ticket_words(events, [grant for _, part in parts for grant in part.grants], template)
    rows = list_items("To", items) if items else _who_and_why(events[-1])
    return _content(words, rows, ticket, ticket.id, addresses)


def access_status(
    events: Sequence[access.AccessFact],
    template: Template,
    ticket: Ticket | None,
    documents: Documents,
    addresses: Addresses,
) -> Content:
    """From the provisioner: about accesses of one ticket; no ticket when no fact of it ever came."""
    newest = {event.grant_id: event for event in events}.values()
    names = [access_name_of(event, ticket, documents) for event in newest]
    items = [
        item(name, [row("For", _name(event.user_id, ticket, documents)), *_details(event)])
        for name, event in zip(names, newest, strict=True)
    ]
    rows = [*list_items("To", items)]
    words = access_words(newest, template)
    return _content(words, rows, ticket, events[0].ticket_id, addresses, fallback=and_more(names))


_ASKED: Final = frozenset({Template.SUBMITTED, Template.REVISED})
_PLANNED: Final = frozenset({*_ASKED, Template.APPROVED})
"""Mails about what is to come: with its times, and without anybody who ended it."""


def _rows(
    event: TicketFact | StopFact, part: Part, target: Target, ticket: Ticket, template: Template
) -> list[ContentRow | None]:
    """What a fact says about one of its targets, with the times as they are known now."""
    if isinstance(event, ExtensionFact):
        return _extension_rows(event)
    holders = {grant.beneficiary for grant in part.grants if grant.target_id == target.id}
    known = ticket.target(target.id) or target
    concerned = (grant for grant in ticket.grants_of(target.id) if grant.beneficiary in holders)
    rows: list[ContentRow | None] = [_for(part, holders), row("Window", window_text(known, concerned))]
    if template in _PLANNED:
        rows.append(_credentials_row(known))
    if template in _ASKED:
        rows.append(row("Decided until", utc(known.expires_at)))
    return rows if template in {*_PLANNED, Template.CLOSED} else [*rows, *_who_and_why(event)]


def _extension_rows(event: ExtensionFact) -> list[ContentRow | None]:
    """From which end to which, and how long that is in all; then who wants it, or who and what said no."""
    extension = event.extension
    subject = event.ticket.extension_subject(extension) if extension else None
    if extension is None or subject is None:
        return []
    times = [
        row("For", *(who(person) for person in subject.beneficiaries)),
        row("Ends", utc(extension.expires_at)),
        row("Later end", f"{utc(extension.ends_at)}, {span(subject.length)} in all"),
    ]
    if isinstance(event, TicketExtensionRejected):
        return [*times, *_who_and_why(event)]
    return [
        *times,
        row("Wanted by", who(extension.requested_by)),
        passage("Wanted because", extension.reason),
    ]


def _who_and_why(event: TicketFact | StopFact) -> list[ContentRow | None]:
    return [
        row("By", event.actor.name) if event.actor.kind == "person" else None,
        passage("Why", event.why) if event.why else None,
    ]


def _for(part: Part, holders: Collection[str]) -> ContentRow:
    return row("For", *(who(person) for person in part.holders if person.user_id in holders))


def _credentials_row(target: Target) -> ContentRow:
    ends_at = target.window.ends_at if target.window else asked_end(target.asked)
    return credentials_row(target.session_duration, ends_at)


def _content(
    words: Words,
    rows: Sequence[ContentRow | None],
    ticket: Ticket | None,
    ticket_id: str,
    addresses: Addresses,
    *,
    fallback: str = "",
) -> Content:
    page = addresses.page("tickets", ticket_id)
    return Content(
        subject=f"[JIT] {subject_of(ticket, fallback=fallback)}",
        headline=words.headline,
        lead=words.lead,
        sections=(section("Access", rows), section("Request", _request(ticket, ticket_id))),
        link=page,
        link_label="Look at the ticket" if page else "",
        tone=words.tone,
        how_to="" if page else "All of the ticket, over the API with your own token:",
        commands=() if page else (f"GET {addresses.route('tickets', ticket_id)}", AUTHORIZATION),
    )


def _request(ticket: Ticket | None, ticket_id: str) -> list[ContentRow | None]:
    if ticket is None:
        return [row("Ticket", ticket_id)]
    return [
        row("Asked by", who(ticket.requester)),
        passage("Reason", ticket.reason),
        *described(ticket),
        row("Ticket", ticket_id),
    ]


def _details(event: access.AccessFact) -> list[ContentRow | None]:
    """What is particular to each access fact."""
    if isinstance(event, access.AccessScheduled):
        return [row("Window", between(event.starts_at, event.ends_at))]
    if isinstance(event, access.AccessGranted):
        return [
            row("Ends", utc(event.ends_at)),
            row("Credentials until", f"{utc(event.credentials_until)} at the latest"),
            row("Note", _ALREADY_HELD) if event.already_held else None,
        ]
    if isinstance(event, access.AccessFailed):
        return [
            row("Cause", ENDED_BY.get(event.code, event.code.replace("_", " "))),
            passage("Detail", event.detail),
            _kept_by(event.kept_by),
            _living_credentials(event.at, event.credentials_until),
        ]
    if isinstance(event, access.AccessExtended):
        return [
            row("Ends", utc(event.ends_at)),
            row("Ended before", utc(event.ended_before)),
            row("Credentials until", f"{utc(event.credentials_until)} at the latest"),
        ]
    if isinstance(event, access.AccessExtensionFailed):
        return [
            row("Ends", utc(event.ends_at)),
            row("Cause", ENDED_BY.get(event.code, event.code.replace("_", " "))),
            passage("Detail", event.detail),
        ]
    if isinstance(event, access.AccessRevokeOverdue):
        return [row("Ended", utc(event.ends_at)), row("Late by", span(event.overdue_by))]
    return _end_details(event)


def _end_details(event: access.AccessFact) -> list[ContentRow | None]:
    if not isinstance(event, access.AccessRevoked | access.AccessReleased):
        return [row("Ends", utc(event.ends_at))]
    return [
        row("Ended because", ENDED_BY.get(event.cause_of_end, event.cause_of_end)),
        _kept_by(event.kept_by) if isinstance(event, access.AccessReleased) else None,
        row("Still given by", *(f"group {group}" for group in event.also_through))
        if isinstance(event, access.AccessRevoked) and event.also_through
        else None,
        _living_credentials(event.at, event.credentials_until),
    ]


def _living_credentials(at: datetime, until: datetime | None) -> ContentRow | None:
    if until is None or until <= at:
        return None
    return row("Note", f"Credentials issued before may still work, until {utc(until)} at the latest.")


def _kept_by(keepers: Sequence[str]) -> ContentRow | None:
    return row("Kept by", *(_keeper(keeper) for keeper in keepers)) if keepers else None


_ALREADY_HELD = "The assignment was there before and is not JIT's: it stays when this ticket ends."


def _keeper(keeper: str) -> str:
    return "an assignment that is not JIT's" if keeper == "not_ours" else f"another ticket's grant {keeper}"


def _name(user_id: str, ticket: Ticket | None, documents: Documents) -> str:
    for person in ticket.beneficiaries if ticket else ():
        if person.user_id == user_id:
            return who(person)
    return who_is(user_id, documents)
