"""Lives of a ticket with several targets: what people and services may do with it, in whatever order.

Each step is one of the ticket service's own; what it refuses at that moment is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final, TypeAlias

from hypothesis import strategies as st

from services.ticket.domain import endings, extension_request, grants, reviews, revision, submission
from services.ticket.domain.plan import make_plan
from services.ticket.domain.termination import Stop, terminate
from shared.contracts import access
from shared.contracts.change import Change, Origin
from shared.contracts.event import Actor, Revisions
from shared.contracts.extension import ExtensionState
from shared.contracts.stop import StopFact
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Ticket, TicketFact
from shared.contracts.windows import WindowAsked
from shared.foundation.clock import ManualClock
from shared.foundation.errors import JitError
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support.builders import access_fact, review_approved, review_rejected
from tests.support.harness import NOW, ready_tables
from tests.ticket.test_plan import draft
from tests.ticket.test_window import LIMITS

MINUTE: Final = timedelta(minutes=1)
TARGETS: Final = ((org.P, org.ADMIN), (org.S, org.ADMIN), (org.P, org.READ), (org.S, org.READ))
PEOPLE: Final = ("ann", "bob")
BOB: Final = org.user_id("bob")


@dataclass(frozen=True)
class Told:
    """A fact of a ticket."""

    fact: TicketFact | StopFact
    whole: Ticket | None
    """As it was after the fact; None where the same step says more, which is of a later version."""


@dataclass(frozen=True)
class Turn:
    """When a step is taken, and which of several things it takes."""

    at: datetime
    number: int

    @property
    def origin(self) -> Origin:
        return Origin(Actor(kind="person", name="bob", user_id=BOB), self.at, f"cause-{self.number}", "why")

    def of(self, things: tuple[object, ...]) -> int:
        if not things:
            raise JitError("there is nothing to take", code="nothing")
        return self.number % len(things)


Step: TypeAlias = Callable[[Ticket, Turn], Change[Ticket]]


@cache
def world() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def submitted(targets: int) -> Change[Ticket]:
    """Bob asks for ann and himself."""
    asked = draft(world(), "bob", targets=TARGETS[:targets], beneficiaries=PEOPLE)
    plan = make_plan(asked, world(), now=NOW, limits=LIMITS)
    assert plan.problems == ()
    numbers = range(1, targets + 1)
    ids = submission.Ids(
        "ticket",
        tuple(f"target-{n}" for n in numbers),
        tuple(f"subject-{n}" for n in numbers),
        tuple(f"grant-{n}-{name}" for n in numbers for name in PEOPLE),
    )
    return submission.submit(
        plan, ids=ids, instance="default", revisions=Revisions(), limits=LIMITS, origin=Turn(NOW, 0).origin
    )


def _subjects(ticket: Ticket) -> tuple[ApprovalSubject, ...]:
    asked = [one for one in ticket.extensions if one.state is ExtensionState.PENDING]
    later = [found for one in asked if (found := ticket.extension_subject(one))]
    return (*(ticket.subject_of(target) for target in ticket.pending), *later)


def _approve(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    subject = _subjects(ticket)[turn.of(_subjects(ticket))]
    part = ticket.extension(subject.id) or ticket.target(subject.target_id)
    assert part is not None
    return reviews.approve(ticket, subject, review_approved(ticket, part, at=turn.at), turn.origin)


def _reject(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    subject = _subjects(ticket)[turn.of(_subjects(ticket))]
    part = ticket.extension(subject.id) or ticket.target(subject.target_id)
    assert part is not None
    return reviews.reject(ticket, subject, review_rejected(ticket, part, at=turn.at), turn.origin)


def _time_out(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    return endings.time_out(ticket, turn.origin)


def _ask_again(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    """For one target, or for all that may be."""
    named = (ticket.targets[turn.number % len(ticket.targets)].id,) if turn.number % 2 else ()
    again = revision.AskedAgain(WindowAsked(duration=30 * MINUTE), "it is needed after all", named)
    targets = revision.revisable(ticket, again, BOB)
    requester = world().user(BOB)
    assert requester is not None
    made = revision.draft_of(ticket, targets, again, requester)
    plan = make_plan(made, world(), now=turn.at, limits=LIMITS)
    ids = revision.RevisionIds(
        tuple(f"{one.subject_id}+" for one in targets),
        tuple(f"{grant.id}+" for one in targets for grant in ticket.grants_of(one.id)),
    )
    return revision.revise(
        ticket, targets, plan, ids=ids, revisions=Revisions(rules=turn.number), limits=LIMITS,
        origin=turn.origin,
    )  # fmt: skip


def _ask_longer(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    grant = ticket.live[turn.of(ticket.live)]
    user_id = BOB if turn.number % 2 else grant.beneficiary
    found = extension_request.lasting(ticket, grant.target_id, user_id, now=turn.at)
    asked = extension_request.LaterEnd(grant.target_id, max(found.ends) + 10 * MINUTE, "it takes longer")
    requester = world().user(user_id)
    assert requester is not None
    plan = extension_request.plan_extension(
        ticket, found, asked, requester, world(), now=turn.at, limits=LIMITS
    )
    return extension_request.request(
        ticket, found, plan, asked, extension_id=f"extension-{ticket.version:03}", revisions=Revisions(),
        origin=turn.origin,
    )  # fmt: skip


def _withdraw(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    return endings.withdraw(ticket, BOB, turn.origin)


def _return(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    return endings.return_access(ticket, org.user_id(PEOPLE[turn.number % len(PEOPLE)]), turn.origin)


def _terminate(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    """One live grant, with the pending targets too, or without."""
    stopped = ticket.live[turn.of(ticket.live)]
    targets = tuple(target.id for target in ticket.pending) if turn.number % 2 else ()
    return terminate(Stop(ticket, (stopped,), targets), turn.origin)


def _close(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    return endings.close(ticket, turn.origin)


def _granted(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    grant = ticket.live[turn.of(ticket.live)]
    until = turn.at + 60 * MINUTE
    fact = access_fact(access.AccessGranted, ticket, grant, at=turn.at, credentials_until=until)
    return grants.note_access(ticket, fact, turn.origin)


def _revoked(ticket: Ticket, turn: Turn) -> Change[Ticket]:
    grant = ticket.live[turn.of(ticket.live)]
    fact = access_fact(
        access.AccessRevoked, ticket, grant, at=turn.at, cause_of_end="expired", credentials_until=turn.at
    )
    return grants.note_access(ticket, fact, turn.origin)


# What is likely comes more often: a life of stops alone is short.
_OF_PEOPLE: Final[tuple[Step, ...]] = (
    _approve, _approve, _approve, _reject, _time_out, _ask_again, _ask_again, _ask_longer, _ask_longer,
    _withdraw, _return, _terminate, _close,
)  # fmt: skip
_OF_AWS: Final[tuple[Step, ...]] = (_granted, _granted, _revoked)


@st.composite
def lives(draw: st.DrawFn, *, reported: bool = True) -> list[Told]:
    """All facts of a ticket's life in the order they were said; `reported`: AWS does something, too."""
    steps = (*_OF_PEOPLE, *_OF_AWS) if reported else _OF_PEOPLE
    turns = st.tuples(st.sampled_from(steps), st.integers(0, 11), st.sampled_from((1, 1, 1, 1, 30, 2000)))
    change = submitted(draw(st.integers(1, len(TARGETS))))
    told, at = _told(change), NOW
    for step, number, minutes in draw(st.lists(turns, min_size=4, max_size=25)):
        at += minutes * MINUTE
        try:
            change = step(change.state, Turn(at, number))
        except JitError:
            continue
        told += _told(change)
    return told


def _told(change: Change[Ticket]) -> list[Told]:
    facts = [event for event in change.events if isinstance(event, TicketFact | StopFact)]
    return [Told(fact, change.state if fact.version == change.state.version else None) for fact in facts]
