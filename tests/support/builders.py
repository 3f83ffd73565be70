"""Facts as another service would say them, about tickets a test already has."""

from datetime import datetime
from typing import Any, TypeVar

from shared.clock import new_id
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewApproved, ReviewRejected
from shared.contracts.event import Actor, Revisions
from shared.contracts.ticket import Grant, Target, Ticket, Window
from shared.contracts.witness import resolve_window, ticket_content_hash

AccessT = TypeVar("AccessT", bound=AccessFact)


def review_approved(ticket: Ticket, target: Target, *, at: datetime, **changes: Any) -> ReviewApproved:
    """The witness for one target; `changes` make it a wrong one."""
    window = resolve_window(ticket.asked, at) or Window(starts_at=at, ends_at=at)
    fields: dict[str, Any] = {
        "subject": ticket.id,
        "version": 5,
        "actor": Actor.service("approval"),
        "at": at,
        "review_id": new_id(),
        "ticket_id": ticket.id,
        "target_id": target.id,
        "revision": target.revision,
        "ticket_version": ticket.version,
        "window": window,
        "content_hash": ticket_content_hash(ticket, target, window),
        "votes": (),
        "revisions": Revisions(),
    }
    return ReviewApproved(**(fields | changes))


def review_rejected(ticket: Ticket, target: Target, *, at: datetime, **changes: Any) -> ReviewRejected:
    fields: dict[str, Any] = {
        "subject": ticket.id,
        "version": 5,
        "actor": Actor.service("approval"),
        "at": at,
        "review_id": new_id(),
        "ticket_id": ticket.id,
        "target_id": target.id,
        "revision": target.revision,
        "ticket_version": ticket.version,
        "code": "rejected",
    }
    return ReviewRejected(**(fields | changes))


def access_fact(cls: type[AccessT], ticket: Ticket, grant: Grant, *, at: datetime, **more: Any) -> AccessT:
    """A fact of the provisioner about one grant."""
    target = next(one for one in ticket.targets if one.id == grant.target_id)
    fields: dict[str, Any] = {
        "subject": ticket.id,
        "actor": Actor.service("provisioner"),
        "at": at,
        "ticket_id": ticket.id,
        "grant_id": grant.id,
        "target_id": target.id,
        "instance": ticket.instance,
        "user_id": grant.beneficiary,
        "account_id": target.account_id,
        "set_id": target.set_id,
        "ends_at": target.window.ends_at if target.window else at,
    }
    return cls(**(fields | more))
