"""The bucket of each caller: what it gives at once, what it gives for ever, and how many it remembers."""

from datetime import timedelta

import pytest

from shared.http.limits import Buckets, Rate
from tests.support.harness import NOW

SECOND = timedelta(seconds=1)


def taken(buckets: Buckets, tries: int, *, key: str = "ann", after: timedelta = timedelta(0)) -> int:
    """How many of these tries, all at one moment, are given one."""
    return sum(buckets.take(key, NOW + after) is None for _ in range(tries))


def test_take_at_once_gives_what_the_rate_says_and_no_more() -> None:
    assert taken(Buckets(Rate(2, at_once=5)), 20) == 5


@pytest.mark.parametrize(
    ("after", "given"),
    [(SECOND / 2 - timedelta(microseconds=1), 0), (SECOND / 2, 1), (SECOND, 2), (60 * SECOND, 5)],
)
def test_take_after_a_rest_gives_the_rate_and_never_more_than_at_once(after: timedelta, given: int) -> None:
    buckets = Buckets(Rate(2, at_once=5))
    taken(buckets, 5)
    assert taken(buckets, 20, after=after) == given


def test_take_at_the_rate_is_given_for_ever() -> None:
    buckets = Buckets(Rate(2, at_once=1))
    assert [buckets.take("ann", NOW + tick * SECOND / 2) for tick in range(100)] == [None] * 100


def test_a_refusal_says_how_long_and_takes_nothing() -> None:
    buckets = Buckets(Rate(2, at_once=1))
    taken(buckets, 1)
    waits = [buckets.take("ann", NOW) for _ in range(50)]
    assert waits == [SECOND / 2] * 50
    assert buckets.take("ann", NOW + SECOND / 2) is None


def test_one_key_takes_nothing_from_another() -> None:
    buckets = Buckets(Rate(2, at_once=5))
    taken(buckets, 20)
    assert taken(buckets, 20, key="bob") == 5


def test_a_clock_that_goes_back_gives_nothing_twice() -> None:
    buckets = Buckets(Rate(2, at_once=5))
    taken(buckets, 5)
    assert taken(buckets, 5, after=-SECOND) == 0


def test_of_more_keys_than_are_kept_those_asked_for_longest_ago_are_forgotten() -> None:
    buckets = Buckets(Rate(1, at_once=1), most=3)
    for key in ("ann", "bob", "cora"):
        taken(buckets, 1, key=key)
    assert taken(buckets, 1, key="ann") == 0, "a refusal is remembered as being asked"
    taken(buckets, 1, key="dora")
    assert len(buckets) == 3
    assert [taken(buckets, 1, key=key) for key in ("ann", "cora", "dora")] == [0, 0, 0]
    assert taken(buckets, 1, key="bob") == 1
