"""The database's clock against AWS's: far apart they hold what begins, and nothing that ends."""

from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.background import report_clocks
from services.provisioner.identity_center.dates import AwsClock, date_of
from shared.contracts import access
from shared.foundation.clock import ManualClock
from tests.support.harness import NOW
from tests.support.provisioner_lab import Lab, Premises

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


class Shifted:
    """AWS's clock, so far from ours."""

    def __init__(self, clock: ManualClock, by: timedelta) -> None:
        self._clock, self._by = clock, by

    def now(self) -> float:
        return (self._clock.now() + self._by).timestamp()


@pytest.fixture
def shift(lab: Lab, shared_premises: Premises, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the clock by which AWS dates its answers."""
    wire = shared_premises.aws.wire

    def move(by: timedelta) -> None:
        monkeypatch.setattr(wire, "_clock", Shifted(lab.clock, by))

    return move


@pytest.mark.parametrize(
    ("ours", "held"),
    [(MINUTE, False), (-MINUTE, False), (MINUTE + SECOND, True), (-MINUTE - SECOND, True)],
)
def test_clocks_hold_beyond_a_minute_either_way(ours: timedelta, held: bool) -> None:
    clock = AwsClock(ManualClock(NOW + ours))
    clock.note(NOW)
    assert (clock.problem is not None) == held
    if held:
        assert ("61 s ahead of" if ours > timedelta(0) else "61 s behind") in str(clock.problem)


def test_comparison_holds_for_half_a_minute_and_is_told_until_the_next() -> None:
    """A moment in which this process stood still must not hold for ever, and silence is no all-clear."""
    ours = ManualClock(NOW)
    clock = AwsClock(ours)
    assert clock.problem is None
    clock.note(NOW - 5 * MINUTE)
    ours.advance(30 * SECOND)
    assert clock.problem is not None
    ours.advance(SECOND)
    assert clock.problem is None
    assert clock.last_problem is not None
    clock.note(ours.now())
    assert clock.last_problem is None


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
def test_date_that_cannot_be_read_is_none(headers: dict[str, str]) -> None:
    assert date_of({"ResponseMetadata": {"HTTPHeaders": headers}}) is None
    assert date_of({}) is None


def test_date_is_read_as_utc() -> None:
    found = date_of({"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 06 Nov 2033 08:49:37 GMT"}}})
    assert found is not None
    assert found.isoformat() == "2033-11-06T08:49:37+00:00"


@pytest.mark.parametrize("by", [2 * MINUTE, -2 * MINUTE])
async def test_grant_waits_while_the_clocks_are_apart_and_begins_when_they_are_not(
    lab: Lab, shift: Any, by: timedelta
) -> None:
    shift(by)
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(60)
    assert (lab.calls("CreateAccountAssignment"), lab.holds()) == (0, False)
    assert await lab.story() == ["scheduled"]
    assert (await lab.row())["next_at"] > lab.now, "it is looked at now and then"
    shift(timedelta(0))
    await lab.run_until(access.AccessGranted)
    assert lab.holds()


@pytest.mark.parametrize("by", [5 * MINUTE, -5 * MINUTE])
async def test_revoke_waits_for_no_clock(lab: Lab, shift: Any, by: timedelta) -> None:
    await lab.approve(lab.ticket(seconds=120))
    await lab.run_until(access.AccessGranted)
    shift(by)
    await lab.run_until(access.AccessRevoked, within=300)
    assert not lab.holds()


async def test_clocks_apart_are_alerted_until_they_are_not(lab: Lab) -> None:
    await report_clocks(lab.context, "the database's clock is 90 s ahead of AWS's")
    assert "clocks_apart" in lab.alerts()
    await report_clocks(lab.context, None)
    assert "clocks_apart" not in lab.alerts()
