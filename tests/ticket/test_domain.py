from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ticket.domain import endings, grants, rights, submission
from services.ticket.domain.plan import make_plan
from services.ticket.domain.reviews import approve, reject, waiting
from shared.contracts import access
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.contracts.event import Actor, Revisions
from shared.contracts.stop import StopFact, StoppedTarget, TicketReturned, TicketWithdrawn
from shared.contracts.ticket import (
    GrantState,
    TargetState,
    Ticket,
    TicketApproved,
    TicketClosed,
    TicketFact,
    TicketState,
    TicketSubmitted,
    TicketTimedOut,
)
from shared.contracts.windows import Window
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Conflict, Forbidden
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support.builders import review_approved, review_rejected
from tests.support.harness import NOW, ready_tables
from tests.ticket.test_plan import draft
from tests.ticket.test_window import LIMITS

HOUR = timedelta(hours=1)
ANN, BOB = org.user_id("ann"), org.user_id("bob")
ORIGIN = Origin(Actor(kind="person", name="bob", user_id=BOB), at=NOW, cause="request", why="because")


@pytest.fixture
def world() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def submitted(world: Snapshot, name: str = "t", *people: str) -> Change[Ticket]:
    """Bob asks for ann and bob, unless other people are named."""
    people = people or ("ann", "bob")
    plan = make_plan(draft(world, "bob", beneficiaries=people), world, now=NOW, limits=LIMITS)
    assert plan.problems == ()
    return submission.submit(
        plan,
        ids=submission.Ids(
            name, (f"{name}-target",), (f"{name}-subject",), tuple(f"{name}-{person}" for person in people)
        ),
        instance="default",
        revisions=Revisions(rules=3),
        limits=LIMITS,
        origin=ORIGIN,
    )


def ticket(world: Snapshot) -> Ticket:
    return submitted(world).state


def approved(world: Snapshot, name: str = "t", *people: str) -> Ticket:
    born = submitted(world, name, *people).state
    (target,) = born.targets
    review = review_approved(born, target, at=NOW)
    return approve(born, born.subject_of(target), review, ORIGIN).state


def fact(cls: type[access.AccessFact], grant_id: str, **more: object) -> access.AccessFact:
    return cls(
        subject="t",
        actor=Actor.service("provisioner"),
        at=NOW,
        ticket_id="t",
        grant_id=grant_id,
        target_id="t-target",
        instance="default",
        user_id="u",
        account_id=org.P,
        set_id=org.ADMIN,
        ends_at=NOW + HOUR,
        **more,  # type: ignore[arg-type]
    )


def expiry(ticket: Ticket) -> datetime:
    return ticket.targets[0].expires_at


GRANTED = {"credentials_until": NOW + 2 * HOUR}
ENDED = {"cause_of_end": "expired"}


def after(ticket: Ticket, *facts: access.AccessFact) -> Ticket:
    for one in facts:
        ticket = grants.note_access(ticket, one, ORIGIN).state
    return ticket


def event_of(change: Change[Ticket]) -> Any:
    """The one event of a change, which carries the state it leads to and nothing less."""
    (event,) = change.events
    assert isinstance(event, TicketFact | StopFact)
    assert (event.ticket, event.version, event.subject) == (
        change.state,
        change.state.version,
        change.state.id,
    )
    return event


def state_of(ticket: Ticket, grant_id: str) -> GrantState | None:
    grant = ticket.grant(grant_id)
    assert grant is not None
    return grant.state


# birth


def test_submit_makes_a_grant_for_each_person_and_target(world: Snapshot) -> None:
    change = submitted(world)
    born = change.state
    assert [(grant.id, grant.beneficiary, grant.state) for grant in born.grants] == [
        ("t-ann", ANN, None),
        ("t-bob", BOB, None),
    ]
    assert (born.version, born.state, born.submitted_at) == (1, TicketState.PENDING, NOW)
    event = event_of(change)
    assert isinstance(event, TicketSubmitted)
    assert (event.actor, event.at, event.cause, event.why) == (ORIGIN.actor, NOW, "request", born.reason)
    assert event.allowed_by == ("scope/for-others", "scope/prod-admin")


# reviews


def test_approve_schedules_the_grants_of_the_target(world: Snapshot) -> None:
    born = ticket(world)
    review = review_approved(born, born.targets[0], at=NOW)
    change = approve(born, born.subject_of(born.targets[0]), review, ORIGIN)
    done = change.state
    assert (done.state, done.version) == (TicketState.SCHEDULED, 2)
    assert {(grant.state, grant.ends_at) for grant in done.grants} == {(GrantState.SCHEDULED, NOW + HOUR)}
    assert done.targets[0].window == Window(starts_at=NOW, ends_at=NOW + HOUR)
    event = event_of(change)
    assert isinstance(event, TicketApproved)
    assert (event.content_hash, event.target_ids) == (review.content_hash, ("t-target",))


def test_waiting_is_the_pending_subject_of_that_revision(world: Snapshot) -> None:
    born, done = ticket(world), approved(world)
    (target,) = born.targets
    assert waiting(born, review_approved(born, target, at=NOW)) == born.subject_of(target)
    for other in (
        {"revision": 2}, {"target_id": "unknown"}, {"subject_id": "unknown"}, {"subject_kind": "extension"}
    ):  # fmt: skip
        assert waiting(born, review_approved(born, target, at=NOW, **other)) is None
    assert waiting(done, review_rejected(born, target, at=NOW)) is None


# what the provisioner reports


def test_access_facts_in_order_lead_to_ended_and_then_closed(world: Snapshot) -> None:
    done = approved(world)
    for grant in ("t-ann", "t-bob"):
        done = after(done, fact(access.AccessGranted, grant, **GRANTED))
    assert done.state is TicketState.ACTIVE
    assert done.credentials_until == NOW + 2 * HOUR
    assert endings.closes_at(done) is None
    for grant in ("t-ann", "t-bob"):
        done = after(done, fact(access.AccessRevoked, grant, **ENDED, **GRANTED))
    assert done.state is TicketState.ENDED
    assert endings.closes_at(done) == NOW + 2 * HOUR
    early = Origin(ORIGIN.actor, at=NOW + 2 * HOUR - timedelta(microseconds=1))
    assert endings.close(done, early) == Change(done)
    change = endings.close(done, Origin(ORIGIN.actor, at=NOW + 2 * HOUR))
    assert change.state.state is TicketState.CLOSED
    assert isinstance(event_of(change), TicketClosed)
    assert endings.closes_at(change.state) is None


@pytest.mark.parametrize(
    ("codes", "shown"),
    [
        (("aws_denied", "aws_denied"), TicketState.FAILED),
        (("withdrawn", "withdrawn"), TicketState.WITHDRAWN),
        (("terminated", "returned"), TicketState.ENDED),
        (("withdrawn", "no_witness"), TicketState.FAILED),
        (("expired", "expired"), TicketState.FAILED),
    ],
)
def test_state_of_grants_that_never_came_says_whether_somebody_stopped_them(
    world: Snapshot, codes: tuple[str, str], shown: TicketState
) -> None:
    facts = [
        fact(access.AccessFailed, grant, code=code)
        for grant, code in zip(("t-ann", "t-bob"), codes, strict=True)
    ]
    assert after(approved(world), *facts).state is shown


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("withdrawn", TicketState.WITHDRAWN),
        ("terminated", TicketState.ENDED),
        ("returned", TicketState.ENDED),
        ("revoked_by_operator", TicketState.ENDED),
        ("expired", TicketState.FAILED),
    ],
)
def test_grant_that_ended_before_it_was_given_has_failed_by_the_cause_of_its_end(
    world: Snapshot, code: str, shown: TicketState
) -> None:
    one = approved(world)
    for grant in ("t-ann", "t-bob"):
        one = after(
            one,
            fact(access.AccessGranting, grant),
            fact(access.AccessRevokeDue, grant, cause_of_end=code),
            fact(access.AccessFailed, grant, code=code, kept_by=("other",)),
        )
    assert (one.state, one.credentials_until) == (shown, None)
    assert {(grant.state, grant.code, grant.kept_by) for grant in one.grants} == {
        (GrantState.FAILED, code, ("other",))
    }
    assert endings.closes_at(one) is None


def test_grant_that_appeared_after_its_end_keeps_the_ticket_from_closing_while_credentials_live(
    world: Snapshot,
) -> None:
    late = {"code": "terminated", "credentials_until": NOW + HOUR}
    facts = [fact(access.AccessFailed, grant, **late) for grant in ("t-ann", "t-bob")]
    one = after(approved(world), *facts)
    assert (one.credentials_until, endings.closes_at(one)) == (NOW + HOUR, NOW + HOUR)


def test_access_fact_that_is_older_or_repeated_changes_nothing(world: Snapshot) -> None:
    done = after(approved(world), fact(access.AccessRevoked, "t-ann", **ENDED))
    for old in (
        fact(access.AccessGranted, "t-ann", **GRANTED),
        fact(access.AccessRevoked, "t-ann", **ENDED),
        fact(access.AccessGranted, "unknown", **GRANTED),
    ):
        assert grants.note_access(done, old, ORIGIN) == Change(done)


def test_access_fact_raises_the_version_and_publishes_nothing(world: Snapshot) -> None:
    change = grants.note_access(approved(world), fact(access.AccessGranting, "t-ann"), ORIGIN)
    assert (change.state.version, change.events, change.alerts) == (3, (), ())


def test_stop_of_live_grants_is_not_undone_by_a_late_granted(world: Snapshot) -> None:
    done = endings.return_access(approved(world), ANN, ORIGIN).state
    assert state_of(done, "t-ann") is GrantState.REVOKING
    late = fact(access.AccessGranted, "t-ann", **GRANTED)
    assert grants.note_access(done, late, ORIGIN) == Change(done)


# endings


def test_withdraw_drops_what_is_pending_or_not_begun(world: Snapshot) -> None:
    pending = endings.withdraw(ticket(world), BOB, ORIGIN)
    assert pending.state.state is TicketState.WITHDRAWN
    event = event_of(pending)
    assert isinstance(event, TicketWithdrawn)
    whole = (StoppedTarget(id="t-target", revision=1),)
    assert (event.targets, event.grant_ids, event.why) == (whole, ("t-ann", "t-bob"), "because")
    assert (event.ticket_id, event.ends_by) == ("t", pending.state.last_end)
    scheduled = endings.withdraw(approved(world), BOB, ORIGIN)
    assert event_of(scheduled).grant_ids == ("t-ann", "t-bob")
    assert {grant.code for grant in scheduled.state.grants} == {EndCause.WITHDRAWN}


def test_withdraw_after_granting_is_a_conflict(world: Snapshot) -> None:
    done = after(approved(world), *(fact(access.AccessGranting, grant) for grant in ("t-ann", "t-bob")))
    with pytest.raises(Conflict, match="nothing of this ticket can be withdrawn"):
        endings.withdraw(done, BOB, ORIGIN)


@pytest.mark.parametrize("make", [ticket, approved])
def test_withdraw_is_the_requesters_alone_and_no_beneficiarys(
    world: Snapshot, make: Callable[[Snapshot], Ticket]
) -> None:
    with pytest.raises(Forbidden) as caught:
        endings.withdraw(make(world), ANN, ORIGIN)
    assert caught.value.code == "not_requester"


def test_return_is_of_ones_own_access_only(world: Snapshot) -> None:
    change = endings.return_access(approved(world), ANN, ORIGIN)
    event = event_of(change)
    assert isinstance(event, TicketReturned)
    assert (event.grant_ids, event.targets) == (("t-ann",), ()), "the target goes on with bob"
    assert state_of(change.state, "t-bob") is GrantState.SCHEDULED
    with pytest.raises(Conflict, match="no access from this ticket to return"):
        endings.return_access(approved(world), org.user_id("carl"), ORIGIN)


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (
            lambda one: reject(
                one, one.subject_of(one.targets[0]), review_rejected(one, one.targets[0], at=NOW), ORIGIN
            ),
            TicketState.REJECTED,
        ),
        (lambda one: endings.time_out(one, Origin(ORIGIN.actor, at=expiry(one))), TicketState.TIMED_OUT),
        (lambda one: endings.withdraw(one, BOB, ORIGIN), TicketState.WITHDRAWN),
    ],
)
def test_end_of_all_targets_shows_in_the_ticket_and_leaves_nothing_to_close(
    world: Snapshot, end: Callable[[Ticket], Change[Ticket]], shown: TicketState
) -> None:
    change = end(ticket(world))
    event = event_of(change)
    about = event.part_of(event.ticket) if isinstance(event, StopFact) else event.part
    assert (change.state.state, [one.id for one in about.targets]) == (shown, ["t-target"])
    assert endings.closes_at(change.state) is None


def test_time_out_is_due_at_the_moment_and_not_before(world: Snapshot) -> None:
    pending = ticket(world)
    early = Origin(ORIGIN.actor, at=expiry(pending) - timedelta(microseconds=1))
    assert endings.time_out(pending, early) == Change(pending)
    change = endings.time_out(pending, Origin(ORIGIN.actor, at=expiry(pending)))
    assert isinstance(event_of(change), TicketTimedOut)
    assert change.state.targets[0].state is TargetState.TIMED_OUT
    done = approved(world)
    assert endings.time_out(done, Origin(ORIGIN.actor, at=expiry(done))) == Change(done)


# rights


@pytest.mark.parametrize(
    ("who", "sees"),
    [("bob", True), ("ann", True), ("carl", True), ("root", True), ("aud", True), ("eve", False)],
)
def test_may_see_of_requester_beneficiary_approver_and_reader(world: Snapshot, who: str, sees: bool) -> None:
    """Bob asks for ann."""
    asked = submitted(world, "t", "ann").state
    assert rights.may_see(asked, org.user_id(who), world, now=NOW) is sees


FACTS = [
    fact(access.AccessScheduled, "t-ann", starts_at=NOW),
    fact(access.AccessGranting, "t-ann"),
    fact(access.AccessGranted, "t-ann", **GRANTED),
    fact(access.AccessRevokeDue, "t-ann", **ENDED),
    fact(access.AccessRevoked, "t-ann", **ENDED),
    fact(access.AccessReleased, "t-ann", kept_by=("x",), **ENDED),
    fact(access.AccessFailed, "t-ann", code="aws"),
]


SCHEDULED = approved(ready_tables(ManualClock(NOW)).policy.snapshot())
"""Made once: the policy takes longer to read than all facts to apply."""


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_access_facts_in_any_order_only_move_a_grant_forward(facts: list[access.AccessFact]) -> None:
    done = SCHEDULED
    reached = grants.ORDER[GrantState.SCHEDULED]
    for one in facts:
        done = after(done, one)
        place = grants.ORDER[state_of(done, "t-ann")]
        assert place >= reached
        reached = place
