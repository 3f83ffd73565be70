"""Facts as another service would say them, about tickets a test already has."""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.contracts.witness import ticket_content_hash

from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewApproved, ReviewRejected, Vote
from shared.contracts.event import Actor, Revisions
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, Target, Ticket, Window
from shared.foundation.clock import ManualClock, new_id
from shared.policy.rows import approve_verb
from shared.policy.selection import RuleChoice
from shared.policy.snapshot import Snapshot
from tests.support.harness import ready_tables

AccessT = TypeVar("AccessT", bound=AccessFact)


def review_approved(ticket: Ticket, target: Target, *, at: datetime, **changes: Any) -> ReviewApproved:
    """The witness for one target, with the votes the small organisation asks for; `changes` make it wrong."""
    world = ready_tables(ManualClock(at)).policy.snapshot()
    duration = ticket.asked.length_from(ticket.submitted_at) or timedelta.max
    choice = world.rules_for(target.account_id, target.set_id, duration)
    window = ticket.asked.window_at(at) or Window(starts_at=at, ends_at=at)
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
        "votes": _votes(world, choice, ticket, target, at=at),
        "auto_approved_by": choice.auto_approved_by,
        "revisions": Revisions(),
    }
    return ReviewApproved(**(fields | changes))


def vote(user_id: str, *, stage: int = 1, at: datetime, **changes: Any) -> Vote:
    """An approval by somebody who is in the directory, or not."""
    fields: dict[str, Any] = {
        "id": new_id(),
        "stage": stage,
        "verdict": "approve",
        "voter": Person(user_id=user_id, user_name=user_id),
        "revisions": Revisions(),
        "at": at,
    }
    return Vote(**(fields | changes))


def _votes(
    world: Snapshot, choice: RuleChoice, ticket: Ticket, target: Target, *, at: datetime
) -> tuple[Vote, ...]:
    """Stage by stage the first people who may, each in one stage only."""
    used = set(ticket.parties)
    votes: list[Vote] = []
    for position, stage in enumerate(choice.stages, start=1):
        verb = approve_verb(stage.rule_id, stage.index)
        free = world.who_may(verb, target.account_id, target.set_id, now=at) - used
        for user_id in sorted(free)[: stage.needed]:
            votes.append(vote(user_id, stage=position, at=at))
            used.add(user_id)
    return tuple(votes)


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
