import asyncio
import math

import pytest

from services.provisioner.domain.assignments import CallKind
from services.provisioner.limits import PRIORITIES, Slots, TokenBucket


class Time:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


def bucket(time: Time, rate: float | None = 10) -> TokenBucket:
    return TokenBucket(rate, monotonic=time, sleep=time.sleep)


async def test_take_without_a_rate_never_waits(time: Time) -> None:
    for _ in range(1000):
        await bucket(time, None).take("grant")
    assert time.now == 100


async def test_take_lets_a_second_worth_through_and_then_the_rate(time: Time) -> None:
    limited = bucket(time)
    for _ in range(10):
        await limited.take("grant")
    assert time.now == 100
    for _ in range(20):
        await limited.take("grant")
    assert math.isclose(time.now, 102, abs_tol=0.01)


async def test_take_after_a_long_pause_has_saved_a_second_only(time: Time) -> None:
    limited = bucket(time)
    time.now += 3600
    for _ in range(20):
        await limited.take("grant")
    assert math.isclose(time.now, 3701, abs_tol=0.01)


async def test_take_in_a_queue_goes_by_priority_then_by_arrival(time: Time) -> None:
    limited = bucket(time, 1)
    await limited.take("grant")
    served: list[str] = []

    async def want(name: str) -> None:
        await limited.take(name.rstrip("12"))
        served.append(name)

    waiting = ["catalog1", "drift1", "grant1", "create1", "grant2", "cut1", "verify1", "poll1", "revoke1"]
    await asyncio.gather(*(want(name) for name in waiting))
    assert served == [
        "revoke1", "poll1", "verify1", "cut1", "create1", "grant1", "grant2", "drift1", "catalog1",
    ]  # fmt: skip


async def test_take_with_an_unknown_priority_is_a_bug(time: Time) -> None:
    limited = bucket(time, 1)
    await limited.take(PRIORITIES[0])
    with pytest.raises(ValueError, match="not in"):
        await limited.take("whenever")


async def test_cancelled_waiter_costs_nobody_a_turn(time: Time) -> None:
    limited = bucket(time, 1)
    await limited.take("grant")
    gone = asyncio.ensure_future(limited.take("revoke"))
    await asyncio.sleep(0)
    gone.cancel()
    await limited.take("grant")
    assert time.now <= 101.01


async def test_slow_down_halves_the_rate_for_half_a_minute(time: Time) -> None:
    limited = bucket(time, 16)
    limited.slow_down()
    assert limited.rate == 8
    limited.slow_down()
    assert limited.rate == 4
    for _ in range(10):
        limited.slow_down()
    assert limited.rate == 1
    time.now += 29.9
    assert limited.rate == 1
    time.now += 0.2
    assert limited.rate == 16


def use(slots: Slots, number: int, account: str, kind: CallKind) -> bool:
    """Reserve a slot and take it."""
    return slots.reserve(number, account, kind) and slots.take(number)


def test_slots_leave_room_for_deletions() -> None:
    slots = Slots(10, 7)
    assert all(use(slots, n, f"account-{n}", "create") for n in range(7))
    assert not slots.reserve(7, "account-7", "create")
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(7, 10))
    assert not slots.reserve(10, "account-10", "delete")
    slots.release(0)
    assert use(slots, 10, "account-10", "delete")
    assert not slots.reserve(11, "account-11", "delete")


def test_deletions_may_take_every_slot() -> None:
    slots = Slots(10, 7)
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(10))
    assert not slots.reserve(10, "account-10", "create")


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_account_has_one_operation_at_a_time(kind: CallKind) -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "account", "create")
    assert not slots.reserve(2, "account", kind)
    slots.release(1)
    assert use(slots, 2, "account", kind)


def test_creations_reserve_no_more_slots_than_they_may_take() -> None:
    slots = Slots(10, 2)
    assert [slots.reserve(n, f"account-{n}", "create") for n in range(3)] == [True, True, False]
    assert not slots.reserve(4, "account-0", "create")


def test_deletion_takes_the_account_that_a_creation_has_only_reserved() -> None:
    slots = Slots(10, 7)
    assert slots.reserve(1, "account", "create")
    assert use(slots, 2, "account", "delete")
    assert not slots.take(1)
    slots.release(2)
    assert slots.take(1), "the reservation still stands"


def test_deletions_take_the_slots_that_creations_have_only_reserved() -> None:
    slots = Slots(2, 2)
    assert all(slots.reserve(n, f"account-{n}", "create") for n in range(2))
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(2, 4))
    assert not slots.take(0)


def test_creation_does_not_reserve_what_a_deletion_has_reserved() -> None:
    slots = Slots(10, 7)
    assert slots.reserve(1, "account", "delete")
    assert not slots.reserve(2, "account", "create")


def test_slot_that_was_not_reserved_is_not_taken() -> None:
    assert not Slots(10, 7).take(1)


def test_slots_are_corrected_by_what_is_stored_but_keep_what_is_just_begun() -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "a", "create")
    assert use(slots, 2, "b", "create")
    assert slots.reserve(5, "d", "create")
    assert slots.reserve(6, "e", "create")
    slots.correct([(3, "c", "delete")], visiting={2, 6})
    assert not slots.reserve(4, "b", "create")
    assert not slots.reserve(4, "c", "create")
    assert not slots.reserve(4, "e", "create")
    assert slots.reserve(4, "a", "create")
    assert slots.reserve(7, "d", "create")
