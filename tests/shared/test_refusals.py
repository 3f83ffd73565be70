"""Refusals are told at once and then once a minute with their number; how many are kept is bounded."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.contracts.configuration import AuthzDenied
from shared.contracts.event import Actor, ActorKind
from shared.http.refusals import MANY, TOLD_EVERY, Refusals
from tests.support.harness import NOW
from tests.support.organisation import user_id

SECOND = timedelta(seconds=1)


def refused(after: timedelta = timedelta(0), *, who: str = "ann", **given: Any) -> AuthzDenied:
    """The refusal of a ticket to somebody, that long after the first."""
    actor = Actor(kind=ActorKind.PERSON, name=who, user_id=user_id(who))
    fact = AuthzDenied(
        subject="ticket",
        actor=actor,
        why="no",
        cause=f"request {after.total_seconds():g}",
        at=NOW + after,
        verb="ticket.read",
        code="ticket_unknown",
        object_id="ticket",
    )
    return fact.model_copy(update=given)


def test_the_first_is_told_at_once_and_as_it_is() -> None:
    fact = refused()
    assert Refusals().note(fact) is fact
    assert (fact.count, fact.since) == (1, None)


def test_those_like_it_are_told_together_a_minute_after_the_first() -> None:
    refusals = Refusals()
    refusals.note(refused())
    assert [refusals.note(refused(tick * SECOND / 100)) for tick in range(1, 1500)] == [None] * 1499
    assert refusals.due(NOW + TOLD_EVERY - timedelta(microseconds=1)) == []
    (rest,) = refusals.due(NOW + TOLD_EVERY)
    assert (rest.count, rest.since, rest.at) == (1499, NOW + SECOND / 100, NOW + 1499 * SECOND / 100)
    assert rest.cause == "request 14.99"


def test_a_flood_that_goes_on_is_told_once_a_minute_and_nothing_is_lost() -> None:
    refusals = Refusals()
    told = []
    for tick in range(600):
        told += [fact for fact in [refusals.note(refused(tick * SECOND))] if fact]
        told += refusals.due(NOW + tick * SECOND)
    told += refusals.rest(NOW + 600 * SECOND)
    moments = [fact.at for fact in told]
    assert all(later - earlier >= TOLD_EVERY for earlier, later in pairwise(moments[:-1]))
    assert len(told) == 11
    assert sum(fact.count for fact in told) == 600


def test_after_a_minute_of_peace_it_is_told_at_once_again() -> None:
    refusals = Refusals()
    refusals.note(refused())
    assert refusals.due(NOW + TOLD_EVERY) == []
    assert len(refusals) == 0
    assert refusals.note(refused(TOLD_EVERY)) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"who": "bob"},
        {"code": "not_permitted"},
        {"verb": "terminate"},
        {"object_id": "review"},
        {"subject": "other ticket"},
    ],
)
def test_another_person_code_right_or_object_is_told_for_itself(other: dict[str, Any]) -> None:
    refusals = Refusals()
    refusals.note(refused())
    assert refusals.note(refused(SECOND, **other)) is not None


@pytest.mark.parametrize(
    "other", [{"route": "GET /elsewhere"}, {"cause": "another"}, {"rules": ("scope/x",)}]
)
def test_another_route_cause_or_rule_is_the_same_refusal(other: dict[str, Any]) -> None:
    refusals = Refusals()
    refusals.note(refused())
    assert refusals.note(refused(SECOND, **other)) is None


def test_too_many_objects_of_one_person_are_told_together_and_leave_others_alone() -> None:
    refusals = Refusals(most_of_one=3)
    told = [refusals.note(refused(object_id=f"{number}")) for number in range(1000)]
    assert [fact.object_id for fact in told if fact] == ["0", "1", "2", None]
    assert len(refusals) == 4
    refusals.note(refused(SECOND, object_id="1"))
    rest = {fact.verb: fact for fact in refusals.due(NOW + TOLD_EVERY)}
    assert (rest[MANY].count, rest[MANY].subject, rest[MANY].code) == (996, user_id("ann"), "ticket_unknown")
    assert (rest["ticket.read"].count, rest["ticket.read"].object_id) == (1, "1")
    other = refused(who="bob", object_id="7")
    assert refusals.note(other) is other


def test_what_is_over_makes_room_for_other_objects() -> None:
    refusals = Refusals(most_of_one=1)
    refusals.note(refused(object_id="0"))
    refusals.due(NOW + TOLD_EVERY)
    fact = refused(TOLD_EVERY, object_id="1")
    assert refusals.note(fact) is fact


def test_too_many_people_at_once_are_told_without_objects() -> None:
    refusals = Refusals(most_of_all=2)
    told = [refusals.note(refused(who=f"p{number}", object_id="x")) for number in range(4)]
    assert [fact.object_id for fact in told if fact] == ["x", "x", None, None]


def test_what_could_not_be_recorded_is_told_with_the_next() -> None:
    refusals = Refusals()
    first = refusals.note(refused())
    assert first is not None
    refusals.count_again([first])
    refusals.note(refused(SECOND))
    (rest,) = refusals.rest(NOW + SECOND)
    assert (rest.count, rest.since, rest.at) == (2, NOW, NOW + SECOND)
    refusals.count_again([rest])
    assert [fact.count for fact in refusals.rest(NOW + SECOND)] == [2]
