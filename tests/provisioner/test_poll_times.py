"""When AWS is asked what became of our operations: where somebody waits for a slot, and not in vain."""

import pytest

from services.provisioner.reconcile.poll_times import PollTimes


def wait_s(times: PollTimes, *, now: float, oldest_s: float = 60.0, ends_wait: bool = False) -> float:
    return times.wait_s("delete", now, oldest_s=oldest_s, ends_wait=ends_wait)


def taking(seconds: float) -> PollTimes:
    """Asked just now, at the moment 0; operations take so long."""
    times = PollTimes()
    for _ in range(20):
        times.ended("delete", seconds)
    times.asked("delete", 0.0)
    return times


def test_first_poll_comes_when_an_operation_may_have_ended() -> None:
    times = PollTimes()
    assert wait_s(times, now=0.0, oldest_s=0.0) == pytest.approx(2.4)
    assert wait_s(times, now=0.0, oldest_s=2.4) == 0.0


def test_what_began_long_ago_is_asked_for_at_once() -> None:
    """After a start or a takeover nobody remembers when it was asked for last."""
    assert wait_s(PollTimes(), now=0.0) == 0.0


@pytest.mark.parametrize(("takes_s", "every_s"), [(0.5, 1.0), (3.0, 1.5), (60.0, 2.0)])
def test_polls_come_some_for_each_operation_within_bounds(takes_s: float, every_s: float) -> None:
    times = taking(takes_s)
    assert wait_s(times, now=0.0) == pytest.approx(every_s)
    assert wait_s(times, now=every_s + 0.001) == 0.0


def test_end_that_waits_for_a_slot_does_not_wait_for_a_poll() -> None:
    times = taking(4.0)
    assert wait_s(times, now=0.0, ends_wait=True) == pytest.approx(0.2)
    assert wait_s(times, now=0.0, oldest_s=0.0, ends_wait=True) == pytest.approx(2.4), "none can have ended"
    assert times.wait_s("create", 0.0, oldest_s=60.0, ends_wait=True) == 0.0, "each kind by itself"


def test_creations_are_not_asked_for_more_often_because_ends_wait() -> None:
    times = PollTimes()
    times.asked("create", 0.0)
    assert times.wait_s("create", 0.0, oldest_s=60.0, ends_wait=True) > 1.0


def test_clock_that_was_set_back_holds_no_poll_up() -> None:
    assert wait_s(taking(4.0), now=60.0, oldest_s=-3600.0) == 0.0


def test_what_operations_take_is_what_the_last_of_them_took() -> None:
    times = PollTimes()
    assert times.seconds_each("delete") == 4.0
    for seconds in [100.0, *[2.0, 4.0] * 10]:
        times.ended("delete", seconds)
    assert times.seconds_each("delete") == pytest.approx(3.0)
    assert times.seconds_each("create") == 4.0


def test_quick_one_that_ends_first_does_not_say_what_all_take() -> None:
    times = PollTimes()
    times.ended("create", 2.0)
    assert times.seconds_each("create") == pytest.approx(22 / 6)
