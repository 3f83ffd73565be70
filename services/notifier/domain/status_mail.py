"""The mails that tell requester and beneficiaries how their ticket stands. Pure.

The sentences are the table below; the rows under them say what exactly it is about.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.notifier.domain.content import (
    AUTHORIZATION,
    Addresses,
    Content,
    Documents,
    Row,
    Tone,
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
from services.notifier.domain.notice import Template
from services.notifier.domain.wording import (
    access_name,
    access_name_of,
    between,
    credentials_row,
    subject_of,
    window_text,
)
from shared.contracts import access
from shared.contracts.ticket import Target, Ticket, TicketFact


@dataclass(frozen=True)
class _Words:
    headline: str
    lead: str
    tone: Tone = "plain"


WORDS: Mapping[Template, _Words] = {
    Template.SUBMITTED: _Words(
        "Request submitted", "Access was asked for as below. Nothing is granted before it is approved."
    ),
    Template.APPROVED: _Words(
        "Request approved",
        "The access below was approved. It begins and ends by itself at the times shown.",
        "good",
    ),
    Template.REJECTED: _Words(
        "Request rejected", "The request below was rejected. It gave no access.", "bad"
    ),
    Template.TIMED_OUT: _Words(
        "Request timed out", "Nobody decided about the request below in time. It gave no access.", "bad"
    ),
    Template.WITHDRAWN: _Words("Request withdrawn", "The request below was withdrawn. It gives no access."),
    Template.TERMINATED: _Words(
        "Access stopped",
        "The access below was stopped before its end and is being taken away. Another mail follows when AWS "
        "confirms that it is gone.",
        "bad",
    ),
    Template.RETURNED: _Words(
        "Access given back",
        "The access below was given back and is being taken away. Another mail follows when AWS confirms "
        "that it is gone.",
    ),
    Template.SCHEDULED: _Words(
        "Access scheduled", "The access below is prepared. It starts and ends by itself at the times shown."
    ),
    Template.GRANTED: _Words("Access granted", "AWS confirms the access below. It can be used now.", "good"),
    Template.FAILED: _Words(
        "Access not granted",
        "The access below was not granted. AWS gives none through this ticket.",
        "bad",
    ),
    Template.REVOKED: _Words("Access ended", "AWS confirms that the access below has been taken away."),
    Template.RELEASED: _Words(
        "Access ended here, but remains",
        "This ticket no longer gives the access below, but something else does, so it was not taken away.",
    ),
    Template.REVOKE_OVERDUE: _Words(
        "Access is over, but not known to be gone",
        "The access below is over, but AWS has not confirmed that it is gone. Removal is tried again until "
        "it succeeds, and the operators know. Please do not use the access.",
        "bad",
    ),
    Template.CLOSED: _Words(
        "Ticket closed", "No credentials that came from this ticket can work any more. Nothing is left to do."
    ),
}
"""What each kind of mail says, whatever the ticket."""

_NOT_GRANTED = "The access below was not granted."
_NONE_THROUGH = "AWS gives none through this ticket."
_GOES_ON = "The same access goes on by what is named below."
_SOME_GOES_ON = "Where something is named that keeps it, the same access goes on by that."
NEVER_GRANTED: Mapping[str, str] = {
    "expired": "The window ended before the access below could be given.",
    "terminated": "The access below was stopped before it was given.",
    "returned": "The access below was given back before it was given.",
    "withdrawn": "The request was withdrawn before the access below was given.",
    "revoked_by_operator": "An operator stopped the access below before it was given.",
}
"""How a failed grant ended, by its code; all other codes are refusals."""

_STOPPED_EARLY: Mapping[Template, str] = {
    Template.TERMINATED: "The access below was stopped before AWS had confirmed it.",
    Template.RETURNED: "The access below was given back before AWS had confirmed it.",
}
"""Stops of what the ticket has not yet heard to be granted; the provisioner says next what became of it."""

ENDED_BY: Mapping[str, str] = {
    "expired": "its window ended",
    "terminated": "stopped by an approver or an administrator",
    "returned": "given back",
    "withdrawn": "the request was withdrawn",
    "revoked_by_operator": "revoked by an operator",
    "failed": "it could not be granted",
}


def ticket_status(
    events: Sequence[TicketFact], template: Template, ticket: Ticket, addresses: Addresses
) -> Content:
    """From the ticket service: about one, some or all of a ticket's targets. `ticket` is the newest known."""
    items = [
        item(access_name(target), _ticket_rows(event, target, ticket, template))
        for event in events
        for target in event.targets
    ]
    rows: list[Row | None] = [*list_items("To", items)]
    if template is Template.SUBMITTED:
        rows.append(row("Decided until", utc(ticket.expires_at)))
    return _content(_ticket_words(events, template), rows, ticket, ticket.id, addresses)


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
    words = _access_words(newest, template)
    return _content(words, rows, ticket, events[0].ticket_id, addresses, fallback=and_more(names))


def _ticket_words(events: Sequence[TicketFact], template: Template) -> _Words:
    """Nothing is being taken away where nothing was granted."""
    words = WORDS[template]
    granted = any(grant.granted_at is not None for event in events for grant in event.grants)
    if template not in _STOPPED_EARLY or granted:
        return words
    follows = "Another mail follows when it is certain that there is none."
    return replace(words, lead=f"{_STOPPED_EARLY[template]} {follows}")


def _access_words(events: Iterable[access.AccessFact], template: Template) -> _Words:
    """Of what was never granted: how it ended and whether it is there all the same, where all agree."""
    words = WORDS[template]
    failed = [event for event in events if isinstance(event, access.AccessFailed)]
    if not failed:
        return words
    leads = {NEVER_GRANTED.get(event.code, _NOT_GRANTED) for event in failed}
    kept = {bool(event.kept_by) for event in failed}
    lead = leads.pop() if len(leads) == 1 else _NOT_GRANTED
    there = (_GOES_ON if kept.pop() else _NONE_THROUGH) if len(kept) == 1 else _SOME_GOES_ON
    return replace(words, lead=f"{lead} {there}")


def _ticket_rows(event: TicketFact, target: Target, ticket: Ticket, template: Template) -> list[Row | None]:
    """What a ticket fact says about one of its targets, with the times as they are known now."""
    holders = {grant.beneficiary for grant in event.grants if grant.target_id == target.id}
    known = ticket.target(target.id) or target
    rows: list[Row | None] = [
        row("For", *(who(person) for person in event.holders if person.user_id in holders)),
        row("Window", window_text(ticket, known)),
    ]
    if template in {Template.SUBMITTED, Template.APPROVED}:
        rows.append(credentials_row(ticket, known))
    if template not in {Template.SUBMITTED, Template.APPROVED, Template.CLOSED}:
        rows.append(row("By", event.actor.name) if event.actor.kind == "person" else None)
        rows.append(passage("Why", event.why) if event.why else None)
    return rows


def _content(
    words: _Words,
    rows: Sequence[Row | None],
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


def _request(ticket: Ticket | None, ticket_id: str) -> list[Row | None]:
    if ticket is None:
        return [row("Ticket", ticket_id)]
    return [
        row("Asked by", who(ticket.requester)),
        passage("Reason", ticket.reason),
        row("Reference", ticket.reference) if ticket.reference else None,
        row("Ticket", ticket_id),
    ]


def _details(event: access.AccessFact) -> list[Row | None]:
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
    if isinstance(event, access.AccessRevokeOverdue):
        return [row("Ended", utc(event.ends_at)), row("Late by", span(event.overdue_by))]
    return _end_details(event)


def _end_details(event: access.AccessFact) -> list[Row | None]:
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


def _living_credentials(at: datetime, until: datetime | None) -> Row | None:
    if until is None or until <= at:
        return None
    return row("Note", f"Credentials issued before may still work, until {utc(until)} at the latest.")


def _kept_by(keepers: Sequence[str]) -> Row | None:
    return row("Kept by", *(_keeper(keeper) for keeper in keepers)) if keepers else None


_ALREADY_HELD = "The assignment was there before and is not JIT's: it stays when this ticket ends."


def _keeper(keeper: str) -> str:
    return "an assignment that is not JIT's" if keeper == "not_ours" else f"another ticket's grant {keeper}"


def _name(user_id: str, ticket: Ticket | None, documents: Documents) -> str:
    for person in ticket.beneficiaries if ticket else ():
        if person.user_id == user_id:
            return who(person)
    return who_is(user_id, documents)
