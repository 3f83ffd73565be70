"""Facts as another service would say them, about tickets a test already has."""

from datetime import datetime
from typing import Any, TypeVar

from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewApproved, ReviewRejected, Vote
from shared.contracts.event import Actor, Revisions
from shared.contracts.extension import Extension
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Grant, Target, Ticket
from shared.contracts.windows import Window
from shared.foundation.clock import ManualClock, new_id
from shared.policy.rows import approve_verb
from shared.policy.selection import RuleChoice
from shared.policy.snapshot import Snapshot
from tests.support.harness import ready_tables

AccessT = TypeVar("AccessT", bound=AccessFact)


def subject(ticket: Ticket, part: Target | Extension) -> ApprovalSubject:
    """What a review of a target or of an extension is about."""
    if isinstance(part, Target):
        return ticket.subject_of(part)
    found = ticket.extension_subject(part)
    assert found is not None, "the extension's target is approved in the revision it extends"
    return found


def review_approved(
    ticket: Ticket, part: Target | Extension, *, at: datetime, **changes: Any
) -> ReviewApproved:
    """The witness for one subject, with the votes the small organisation wants; `changes` make it wrong."""
    world, about = ready_tables(ManualClock(at)).policy.snapshot(), subject(ticket, part)
    choice = world.rules_for(about.account_id, about.set_id, about.length)
    window = about.window_at(at) or Window(starts_at=at, ends_at=at)
    fields: dict[str, Any] = {
        **_review_fields(ticket, about, at=at),
        "window": window,
        "content_hash": about.content_hash(window),
        "votes": _votes(world, choice, about, at=at),
        "auto_approved_by": choice.auto_approved_by,
        "revisions": Revisions(),
    }
    return ReviewApproved(**(fields | changes))


def review_rejected(
    ticket: Ticket, part: Target | Extension, *, at: datetime, **changes: Any
) -> ReviewRejected:
    fields = {**_review_fields(ticket, subject(ticket, part), at=at), "code": "rejected"}
    return ReviewRejected(**(fields | changes))


def _review_fields(ticket: Ticket, about: ApprovalSubject, *, at: datetime) -> dict[str, Any]:
    """What all review facts have."""
    return {
        "subject": ticket.id,
        "version": 5,
        "actor": Actor.service("approval"),
        "at": at,
        "review_id": new_id(),
        "ticket_id": ticket.id,
        "target_id": about.target_id,
        "revision": about.revision,
        "subject_id": about.id,
        "subject_kind": about.kind,
        "ticket_version": ticket.version,
    }


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


def _votes(world: Snapshot, choice: RuleChoice, about: ApprovalSubject, *, at: datetime) -> tuple[Vote, ...]:
    """Stage by stage the first people who may, each in one stage only."""
    used = set(about.parties)
    votes: list[Vote] = []
    for position, stage in enumerate(choice.stages, start=1):
        verb = approve_verb(stage.rule_id, stage.index)
        free = world.who_may(verb, about.account_id, about.set_id, now=at) - used
        for user_id in sorted(free)[: stage.needed]:
            votes.append(vote(user_id, stage=position, at=at))
            used.add(user_id)
    return tuple(votes)


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
        "ends_at": grant.ends_at or at,
    }
    return cls(**(fields | more))
