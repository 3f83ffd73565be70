"""What each kind of mail to requester and beneficiaries says, whatever the ticket. Pure.

The tables are the sentences; where a fact decides which one it is, the functions below them choose.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.notifier.domain.content import Tone
from services.notifier.domain.notice import Template, ticket_in
from shared.contracts import access
from shared.contracts.approval import ExtensionEnd
from shared.contracts.stop import StopFact
from shared.contracts.ticket import Grant, TicketExtensionRejected, TicketFact


@dataclass(frozen=True)
class Words:
    headline: str
    lead: str
    tone: Tone = "plain"


WORDS: Mapping[Template, Words] = {
    Template.SUBMITTED: Words(
        "Request submitted", "Access was asked for as below. Nothing is granted before it is approved."
    ),
    Template.REVISED: Words(
        "Request revised",
        "Access was asked for again as below. Nothing is granted before it is approved.",
    ),
    Template.APPROVED: Words(
        "Request approved",
        "The access below was approved. It begins and ends by itself at the times shown.",
        "good",
    ),
    Template.REJECTED: Words("Request rejected", "The request below was rejected. It gave no access.", "bad"),
    Template.TIMED_OUT: Words(
        "Request timed out", "Nobody decided about the request below in time. It gave no access.", "bad"
    ),
    Template.WITHDRAWN: Words("Request withdrawn", "The request below was withdrawn. It gives no access."),
    Template.TERMINATED: Words(
        "Access stopped",
        "The access below was stopped before its end and is being taken away. Another mail follows when AWS "
        "confirms that it is gone.",
        "bad",
    ),
    Template.RETURNED: Words(
        "Access given back",
        "The access below was given back and is being taken away. Another mail follows when AWS confirms "
        "that it is gone.",
    ),
    Template.SCHEDULED: Words(
        "Access scheduled", "The access below is prepared. It starts and ends by itself at the times shown."
    ),
    Template.GRANTED: Words("Access granted", "AWS confirms the access below. It can be used now.", "good"),
    Template.FAILED: Words(
        "Access not granted",
        "The access below was not granted. AWS gives none through this ticket.",
        "bad",
    ),
    Template.EXTENSION_REQUESTED: Words(
        "Extension requested",
        "A later end was asked for the access below. It ends as planned unless that is approved before.",
    ),
    Template.EXTENSION_REJECTED: Words(
        "Access not extended", "There is no later end for the access below. It ends as planned.", "bad"
    ),
    Template.EXTENDED: Words(
        "Access extended", "The access below goes on. It ends by itself at the later time shown.", "good"
    ),
    Template.EXTENSION_FAILED: Words(
        "Access not extended",
        "A later end of the access below was approved, but could not be set. It ends as planned.",
        "bad",
    ),
    Template.REVOKED: Words("Access ended", "AWS confirms that the access below has been taken away."),
    Template.RELEASED: Words(
        "Access ended here, but remains",
        "This ticket no longer gives the access below, but something else does, so it was not taken away.",
    ),
    Template.REVOKE_OVERDUE: Words(
        "Access is over, but not known to be gone",
        "The access below is over, but AWS has not confirmed that it is gone. Removal is tried again until "
        "it succeeds, and the operators know. Please do not use the access.",
        "bad",
    ),
    Template.CLOSED: Words(
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

_NO_LATER_END: Mapping[str, str] = {
    ExtensionEnd.REJECTED: "The approvers said no to a later end of the access below. It ends as planned.",
    ExtensionEnd.TIMED_OUT: (
        "Nobody decided about a later end of the access below in time. It ends as planned."
    ),
    ExtensionEnd.WITHDRAWN: "The wish for a later end of the access below was withdrawn. It ends as planned.",
    ExtensionEnd.STOPPED: (
        "Some of the access below was stopped, so its later end is not decided on. "
        "What goes on ends as planned."
    ),
}
"""Why an extension was not approved, by its code; all other codes get the general sentence."""

_NOT_EXTENDED: Mapping[str, str] = {
    "too_late": "A later end of the access below was approved when it was over already.",
    "stopped": "The access below was stopped before its later end could be set.",
}
"""Why an approved extension moved nothing, where the general sentence would be wrong."""


def ticket_words(
    events: Sequence[TicketFact | StopFact], grants: Iterable[Grant], template: Template
) -> Words:
    """Nothing is being taken away where nothing was granted; an extension is over for a reason."""
    words = WORDS[template]
    if codes := {event.code for event in events if isinstance(event, TicketExtensionRejected)}:
        return _by_code(words, _NO_LATER_END, codes)
    known = all(ticket_in(event) for event in events)
    if template not in _STOPPED_EARLY or not known or any(grant.granted_at for grant in grants):
        return words
    follows = "Another mail follows when it is certain that there is none."
    return replace(words, lead=f"{_STOPPED_EARLY[template]} {follows}")


def access_words(events: Iterable[access.AccessFact], template: Template) -> Words:
    """Of what was never granted: how it ended and whether it is there all the same, where all agree."""
    words = WORDS[template]
    if codes := {_code(event) for event in events if isinstance(event, access.AccessExtensionFailed)}:
        return _by_code(words, _NOT_EXTENDED, codes)
    failed = [event for event in events if isinstance(event, access.AccessFailed)]
    if not failed:
        return words
    leads = {NEVER_GRANTED.get(event.code, _NOT_GRANTED) for event in failed}
    kept = {bool(event.kept_by) for event in failed}
    lead = leads.pop() if len(leads) == 1 else _NOT_GRANTED
    there = (_GOES_ON if kept.pop() else _NONE_THROUGH) if len(kept) == 1 else _SOME_GOES_ON
    return replace(words, lead=f"{lead} {there}")


def _code(event: access.AccessExtensionFailed) -> str:
    return "stopped" if access.is_stop(event.code) else event.code


def _by_code(words: Words, sentences: Mapping[str, str], codes: Collection[str]) -> Words:
    """The sentence that all codes share, else the general one."""
    leads = {sentences.get(code, words.lead) for code in codes}
    return replace(words, lead=leads.pop()) if len(leads) == 1 else words
