"""A ticket and the facts about it, as the other services publish them."""

from datetime import datetime, timedelta
from typing import Any

from services.notifier.domain.known import KnownTicket
from services.notifier.domain.notice import TABLE, Notice, known_for
from shared.contracts import access, approval, ticket
from shared.contracts.event import Actor, Event
from shared.contracts.extension import Extension
from shared.contracts.identity import IdentityFact
from shared.contracts.people import Person
from shared.contracts.stop import StopFact
from shared.contracts.subject import SubjectKind
from shared.contracts.windows import Window, WindowAsked
from tests.support.facts import example
from tests.support.harness import NOW
from tests.support.organisation import ADMIN, READ, P, S, user_id
from tests.support.stops import stop_of

HOUR = timedelta(hours=1)
TICKET = "0190a000-0000-7000-8000-000000000001"
REVIEW = "0190a000-0000-7000-8000-0000000000aa"
TARGET, GRANT, EXTENSION = "target-1", "grant-1", "extension-1"
BOB = Actor(kind="person", name="bob", user_id=user_id("bob"))
REASON = "Investigate the failing payments of this morning"


def person(name: str, **changes: Any) -> Person:
    known = {"user_name": name, "display_name": name.title(), "email": f"{name}@example.com"}
    return Person(user_id=user_id(name), **(known | changes))


def target(**changes: Any) -> ticket.Target:
    known: dict[str, Any] = {
        "id": TARGET,
        "account_id": P,
        "account_name": "prod-payments",
        "set_id": ADMIN,
        "set_name": "Administrator",
        "set_digest": "digest-Administrator",
        "session_duration": HOUR,
        "subject_id": f"subject-of-{changes.get('id', TARGET)}",
        "asked": WindowAsked(starts_at=NOW + HOUR, duration=HOUR),
        "reason": REASON,
        "submitted_at": NOW,
        "expires_at": NOW + 2 * HOUR,
    }
    return ticket.Target(**(known | changes))


def second_target(**changes: Any) -> ticket.Target:
    return target(
        id="target-2", account_id=S, account_name="prod-cards", set_id=READ, set_name="ReadOnly", **changes
    )


def grant(**changes: Any) -> ticket.Grant:
    return ticket.Grant(**({"id": GRANT, "target_id": TARGET, "beneficiary": user_id("ann")} | changes))


def a_ticket(**changes: Any) -> ticket.Ticket:
    """Bob asks for ann, for an hour from ten on."""
    known: dict[str, Any] = {
        "id": TICKET,
        "instance": "default",
        "version": 1,
        "requester": person("bob"),
        "beneficiaries": (person("ann"),),
        "targets": (target(),),
        "grants": (grant(),),
        "reference": "CHG-4711",
        "submitted_at": NOW,
        "state": ticket.TicketState.PENDING,
    }
    return ticket.Ticket(**(known | changes))


def extended_ticket(**changes: Any) -> ticket.Ticket:
    """Ann's access is live from ten until eleven; at half past ten ann asks for it until noon."""
    window = Window(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    asked = Extension(
        id=EXTENSION,
        target_id=TARGET,
        revision=1,
        grants=(GRANT,),
        requested_by=person("ann"),
        ends_at=NOW + 3 * HOUR,
        reason="The payments need watching",
        submitted_at=NOW + 1.5 * HOUR,
        expires_at=window.ends_at,
    )
    known: dict[str, Any] = {
        "version": 5,
        "targets": (target(state=ticket.TargetState.APPROVED, window=window),),
        "grants": (grant(ends_at=window.ends_at, granted_at=window.starts_at),),
        "extensions": (asked,),
    }
    return a_ticket(**(known | changes))


def extension_stage(**fields: Any) -> approval.ReviewStageOpened:
    """A stage of the review of that extension."""
    about = {"subject_id": EXTENSION, "subject_kind": SubjectKind.EXTENSION, "ticket_version": 5}
    return stage_opened(**(about | fields))


def wide_ticket(count: int, **changes: Any) -> ticket.Ticket:
    """Bob asks for ann for one set on that many accounts."""
    numbers = range(1, count + 1)
    targets = (target(id=f"t{n}", account_id=f"{n:012}", account_name=f"account-{n}") for n in numbers)
    grants = (grant(id=f"g{n}", target_id=f"t{n}") for n in numbers)
    return a_ticket(**({"targets": tuple(targets), "grants": tuple(grants)} | changes))


def ticket_fact(
    cls: type[ticket.TicketFact | StopFact] = ticket.TicketSubmitted,
    whole: ticket.Ticket | None = None,
    *,
    at: datetime = NOW,
    **fields: Any,
) -> Any:
    whole = whole or a_ticket()
    if issubclass(cls, StopFact):
        named = {"targets": fields.pop("target_ids", ()), "grants": fields.pop("grant_ids", ())}
        said = {"version": whole.version, "actor": BOB, "why": "asked for", "at": at}
        return stop_of(cls, whole, **named, **(said | fields))
    if cls is ticket.TicketApproved:
        fields = {"content_hash": "hash", "target_ids": (TARGET,)} | fields
    if issubclass(cls, ticket.ExtensionFact):
        fields = {"extension_id": EXTENSION, "target_ids": (TARGET,), "grant_ids": (GRANT,)} | fields
    if cls is ticket.TicketExtensionRejected:
        fields = {"code": "rejected"} | fields
    known: dict[str, Any] = {
        "subject": whole.id,
        "version": whole.version,
        "actor": BOB,
        "why": "asked for",
        "at": at,
        "ticket": whole.as_told(fields.get("target_ids", ()), fields.get("grant_ids", ())),
    }
    return cls(**(known | fields))


def access_fact(
    cls: type[access.AccessFact] = access.AccessGranted, *, at: datetime = NOW, **fields: Any
) -> access.AccessFact:
    particular: dict[type[access.AccessFact], dict[str, Any]] = {
        access.AccessScheduled: {"starts_at": NOW + HOUR},
        access.AccessGranted: {"credentials_until": NOW + 3 * HOUR},
        access.AccessFailed: {"code": "no_witness", "detail": "approval never said so"},
        access.AccessRevoked: {"cause_of_end": "expired", "credentials_until": NOW + 3 * HOUR},
        access.AccessReleased: {"cause_of_end": "expired", "kept_by": ("not_ours",)},
        access.AccessRevokeOverdue: {"overdue_by": timedelta(minutes=7)},
        access.AccessExtended: {
            "subject_id": EXTENSION,
            "ended_before": NOW + 2 * HOUR,
            "ends_at": NOW + 3 * HOUR,
            "credentials_until": NOW + 4 * HOUR,
        },
        access.AccessExtensionFailed: {
            "subject_id": EXTENSION,
            "code": "no_witness",
            "detail": "approval never said so",
        },
        access.AccessRevokeDue: {"cause_of_end": "expired"},
    }
    known: dict[str, Any] = {
        "subject": TICKET,
        "actor": Actor.service("provisioner"),
        "at": at,
        "ticket_id": TICKET,
        "grant_id": GRANT,
        "target_id": TARGET,
        "instance": "default",
        "user_id": user_id("ann"),
        "account_id": P,
        "set_id": ADMIN,
        "ends_at": NOW + 2 * HOUR,
    }
    return cls(**(known | particular.get(cls, {}) | fields))


def stage_opened(**fields: Any) -> approval.ReviewStageOpened:
    known: dict[str, Any] = {
        "subject": TICKET,
        "actor": Actor.service("approval"),
        "at": NOW,
        "review_id": REVIEW,
        "ticket_id": TICKET,
        "target_id": TARGET,
        "revision": 1,
        "subject_id": f"subject-of-{fields.get('target_id', TARGET)}",
        "subject_kind": SubjectKind.TARGET,
        "ticket_version": 1,
        "stage": 1,
        "stages": 2,
        "needed": 1,
        "approvers": (person("carl"), person("cora")),
        "other_grants": 3,
        "earlier_rejections": 2,
    }
    return approval.ReviewStageOpened(**(known | fields))


def notice(event: Event, known: ticket.Ticket | None, number: int = 0) -> Notice:
    """The fact as it is kept where that is known of its ticket, or less."""
    found = KnownTicket.by(known) if known else None
    return Notice(f"n{number}", f"event-{number}", event, known_for(event, found))


def fact_of_table(event: type[Event]) -> Event:
    """A fact of the table that is mailed."""
    if issubclass(event, ticket.ExtensionFact):
        return ticket_fact(event, extended_ticket())
    if issubclass(event, ticket.TicketFact | StopFact):
        return ticket_fact(event, a_ticket(grants=(grant(granted_at=NOW),)))
    if issubclass(event, access.AccessFact):
        return access_fact(event)
    if issubclass(event, IdentityFact):
        return example(event)
    return stage_opened()


OF_TICKETS = [event for event in TABLE if not issubclass(event, IdentityFact)]
"""What is mailed about a ticket."""

TWO = a_ticket(
    beneficiaries=(person("ann"), person("eve")),
    targets=(target(), second_target()),
    grants=(
        grant(),
        grant(id="grant-2", target_id="target-2"),
        grant(id="grant-3", beneficiary=user_id("eve")),
    ),
)
"""Ann on both targets, eve on the first."""
