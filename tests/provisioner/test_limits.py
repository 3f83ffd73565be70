import asyncio
import math
from datetime import datetime, timedelta

import pytest

from services.provisioner.domain.assignments import CallKind
from services.provisioner.limits import (
    ONE_EVENT_S,
    PRIORITIES,
    STUCK_AFTER,
    Gate,
    Slot,
    Slots,
    TokenBucket,
)
from tests.support.harness import NOW


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


async def test_turns_of_those_who_gave_up_go_to_whoever_comes_next(time: Time) -> None:
    limited = bucket(time, 1)
    await limited.take("grant")
    gone = asyncio.ensure_future(limited.take("revoke"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert limited._pump is not None
    await limited._pump
    await limited.take("grant")
    assert time.now <= 101.01


async def test_who_comes_late_does_not_pass_those_who_wait(time: Time) -> None:
    limited = bucket(time, 1)
    await limited.take("grant")
    served: list[str] = []

    async def want(priority: str) -> None:
        await limited.take(priority)
        served.append(priority)

    waits = asyncio.ensure_future(want("revoke"))
    for _ in range(2):
        await asyncio.sleep(0)
    assert time.now > 100, "there is a call to be had by now"
    await want("catalog")
    await waits
    assert served == ["revoke", "catalog"]


async def test_throttles_of_one_moment_halve_the_rate_once(time: Time) -> None:
    limited = bucket(time, 16)
    for _ in range(5):
        limited.slow_down()
    assert limited.rate == 8
    time.now += ONE_EVENT_S - 0.01
    before = limited.rate
    limited.slow_down()
    assert limited.rate == before


async def test_throttle_of_a_later_moment_halves_what_the_rate_is_by_then(time: Time) -> None:
    limited = bucket(time, 15)
    limited.slow_down()
    time.now += ONE_EVENT_S
    limited.slow_down()
    assert limited.rate == pytest.approx((7.5 + 0.5) / 2)


async def test_rate_recovers_evenly_and_not_beyond_what_it_was(time: Time) -> None:
    limited = bucket(time, 30)
    limited.slow_down()
    rates = []
    for _ in range(17):
        time.now += 1
        rates.append(limited.rate)
    assert rates[:15] == pytest.approx([float(rate) for rate in range(16, 31)])
    assert rates[15:] == [30, 30]


async def test_rate_never_falls_below_a_call_a_second(time: Time) -> None:
    limited = bucket(time, 2)
    for _ in range(4):
        limited.slow_down()
        time.now += ONE_EVENT_S
    limited.slow_down()
    assert limited.rate == 1


async def test_what_was_saved_up_is_gone_with_a_throttle(time: Time) -> None:
    """Neither at once nor on recovery may calls come in a bunch: that is what AWS refused."""
    limited = bucket(time, 10)
    limited.slow_down()
    sent = []
    for _ in range(60):
        await limited.take("grant")
        sent.append(time.now)
    assert sent[0] > 100.1
    assert all(sum(at <= one < at + 1 for one in sent) <= 10 for at in sent)


async def test_gate_keeps_a_bucket_for_each_service(time: Time) -> None:
    buckets = {"sso-admin": bucket(time, 10), "organizations": bucket(time, 10)}
    gate = Gate(buckets, check=lambda **_: None)
    gate.throttled("organizations")
    assert (buckets["sso-admin"].rate, buckets["organizations"].rate) == (10, 5)
    await gate("revoke", "sso-admin")
    assert time.now == 100, "no call to the one waits for the other"


def slot(account: str, kind: CallKind, *, at: datetime = NOW, firm: bool = False) -> Slot:
    return Slot(account, "set", kind, since=at, firm=firm)


def use(slots: Slots, number: int, account: str, kind: CallKind, *, at: datetime = NOW) -> bool:
    """Reserve a slot and take it."""
    return slots.reserve(number, slot(account, kind, at=at)) and slots.take(number, now=at)


def test_slots_leave_room_for_deletions() -> None:
    slots = Slots(10, 7)
    assert all(use(slots, n, f"account-{n}", "create") for n in range(7))
    assert not slots.reserve(7, slot("account-7", "create"))
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(7, 10))
    assert not slots.reserve(10, slot("account-10", "delete"))
    slots.release(0)
    assert use(slots, 10, "account-10", "delete")
    assert not slots.reserve(11, slot("account-11", "delete"))


def test_deletions_may_take_every_slot() -> None:
    slots = Slots(10, 7)
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(10))
    assert not slots.reserve(10, slot("account-10", "create"))


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_account_has_one_operation_at_a_time(kind: CallKind) -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "account", "create")
    assert not slots.reserve(2, slot("account", kind))
    slots.release(1)
    assert use(slots, 2, "account", kind)


def test_creations_reserve_no_more_slots_than_they_may_take() -> None:
    slots = Slots(10, 2)
    assert [slots.reserve(n, slot(f"account-{n}", "create")) for n in range(3)] == [True, True, False]
    assert not slots.reserve(4, slot("account-0", "create"))


def test_deletion_takes_the_account_that_a_creation_has_only_reserved() -> None:
    slots = Slots(10, 7)
    assert slots.reserve(1, slot("account", "create"))
    assert use(slots, 2, "account", "delete")
    assert not slots.take(1, now=NOW)
    slots.release(2)
    assert slots.take(1, now=NOW), "the reservation still stands"


def test_deletions_take_the_slots_that_creations_have_only_reserved() -> None:
    slots = Slots(2, 2)
    assert all(slots.reserve(n, slot(f"account-{n}", "create")) for n in range(2))
    assert all(use(slots, n, f"account-{n}", "delete") for n in range(2, 4))
    assert not slots.take(0, now=NOW)


def test_deletions_leave_a_slot_that_is_kept_for_a_creation() -> None:
    slots = Slots(2, 2)
    assert slots.reserve(1, slot("account-1", "create", firm=True))
    assert use(slots, 2, "account-2", "delete")
    assert not use(slots, 3, "account-3", "delete")
    assert slots.take(1, now=NOW)


def test_creation_does_not_reserve_what_a_deletion_has_reserved() -> None:
    slots = Slots(10, 7)
    assert slots.reserve(1, slot("account", "delete"))
    assert not slots.reserve(2, slot("account", "create"))


def test_slot_that_was_not_reserved_is_not_taken() -> None:
    assert not Slots(10, 7).take(1, now=NOW)


@pytest.mark.parametrize("kind", ["create", "delete"])
def test_operation_that_is_stuck_holds_up_no_deletion_on_its_account(kind: CallKind) -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "account", kind)
    almost, late = NOW + STUCK_AFTER - timedelta(seconds=1), NOW + STUCK_AFTER
    assert not use(slots, 2, "account", "delete", at=almost)
    assert not use(slots, 3, "account", "create", at=late)
    assert use(slots, 2, "account", "delete", at=late)


def test_operations_that_are_stuck_leave_their_slots_to_deletions_only() -> None:
    slots = Slots(3, 3)
    assert all(use(slots, n, f"account-{n}", "create") for n in range(3))
    late = NOW + STUCK_AFTER
    assert not use(slots, 4, "account-4", "create", at=late)
    assert all(use(slots, n, f"account-{n}", "delete", at=late) for n in range(5, 8))
    assert not use(slots, 8, "account-8", "delete", at=late), "those that are not stuck still count"


def test_slots_are_corrected_by_what_is_stored_but_keep_what_is_just_begun() -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "a", "create")
    assert use(slots, 2, "b", "create")
    assert slots.reserve(5, slot("d", "create"))
    assert slots.reserve(6, slot("e", "create"))
    slots.correct({3: slot("c", "delete")}, visiting={2, 6}, as_of=slots.snapshot())
    assert not slots.reserve(4, slot("b", "create"))
    assert not slots.reserve(4, slot("c", "create"))
    assert not slots.reserve(4, slot("e", "create"))
    assert slots.reserve(4, slot("a", "create"))
    assert slots.reserve(7, slot("d", "create"))


def test_slot_taken_after_the_snapshot_is_kept_though_it_was_not_stored_then() -> None:
    slots = Slots(10, 7)
    as_of = slots.snapshot()
    assert use(slots, 1, "a", "create")
    slots.correct({}, visiting=(), as_of=as_of)
    assert not slots.reserve(2, slot("a", "create"))
    slots.correct({}, visiting=(), as_of=slots.snapshot())
    assert slots.reserve(2, slot("a", "create"))


def test_slot_released_after_the_snapshot_is_free_though_it_was_stored_then() -> None:
    slots = Slots(10, 7)
    assert use(slots, 1, "a", "create")
    as_of = slots.snapshot()
    slots.release(1)
    slots.correct({1: slot("a", "create")}, visiting=(), as_of=as_of)
    assert slots.reserve(2, slot("a", "create"))


def test_what_is_worked_on_is_known_by_account_and_set() -> None:
    slots = Slots(10, 7)
    assert slots.reserve(1, slot("a", "create"))
    assert (slots.works_on("a", "set"), slots.works_on("a", "other"), slots.works_on("b", "set")) == (
        True, False, False,
    )  # fmt: skip
    assert not slots.works_in("a"), "nothing is outstanding yet"
    assert slots.take(1, now=NOW)
    assert slots.works_in("a")
