"""The one authority for time: the database's clock, and ids that sort by it."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared.foundation import clock as clock_module
from shared.foundation.clock import Clock, ManualClock, new_id
from tests.support.harness import NOW


class Database:
    """A server whose clock is `ahead` of the machine's at the start, and that takes its time to answer."""

    def __init__(self, machine: "Machine", *, ahead: timedelta, takes: timedelta) -> None:
        self._machine = machine
        self.ahead = ahead
        self.takes = takes

    async def fetchval(self, query: str) -> datetime | None:
        self._machine.go_on(self.takes / 2)
        answer = NOW + self._machine.ticks + self.ahead
        self._machine.go_on(self.takes / 2)
        return answer


class Machine:
    """A wall clock that somebody may set, and one that nobody can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = NOW
        self.ticks = timedelta(0)
        monkeypatch.setattr(clock_module, "_machine_time", lambda: self.time)
        monkeypatch.setattr(clock_module, "_ticks", lambda: self.ticks)

    def go_on(self, by: timedelta) -> None:
        self.time += by
        self.ticks += by


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def test_sync_follows_the_database_from_the_middle_of_the_round_trip(machine: Machine) -> None:
    clock = Clock()
    await clock.sync(Database(machine, ahead=timedelta(minutes=3), takes=timedelta(milliseconds=400)))
    assert clock.offset == timedelta(minutes=3)
    assert clock.now() == machine.time + timedelta(minutes=3)


async def test_sync_throws_a_slow_round_trip_away_once_it_knows_better(machine: Machine) -> None:
    clock = Clock()
    slow = Database(machine, ahead=timedelta(minutes=3), takes=timedelta(seconds=5))
    await clock.sync(slow)
    assert clock.offset == timedelta(minutes=3)  # the first is better than nothing
    slow.ahead = timedelta(minutes=9)
    await clock.sync(slow)
    assert clock.offset == timedelta(minutes=3)
    slow.takes = timedelta(milliseconds=2)
    await clock.sync(slow)
    assert clock.offset == timedelta(minutes=9)


@pytest.mark.parametrize("step", [timedelta(hours=9), -timedelta(hours=9)])
async def test_a_step_of_the_wall_clock_changes_nothing(machine: Machine, step: timedelta) -> None:
    clock = Clock()
    machine.time += step
    machine.go_on(timedelta(seconds=2))
    assert clock.now() == NOW + timedelta(seconds=2)  # believed once, when it was made
    await clock.sync(Database(machine, ahead=timedelta(minutes=3), takes=timedelta(0)))
    machine.time += step
    machine.go_on(timedelta(seconds=5))
    assert clock.now() == NOW + timedelta(minutes=3, seconds=7)
    await clock.sync(Database(machine, ahead=timedelta(minutes=3), takes=timedelta(0)))
    assert clock.now() == NOW + timedelta(minutes=3, seconds=7)
    assert clock.offset == timedelta(minutes=3) - 2 * step


def test_the_clock_goes_on_by_itself() -> None:
    clock = Clock()
    first = clock.now()
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now() >= first


async def test_sync_against_a_real_server_is_close_to_this_machine(admin_dsn: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    clock = Clock()
    assert abs(await clock.sync(conn)) < timedelta(seconds=5)
    assert clock.now().tzinfo is UTC
    await conn.close()


async def test_a_manual_clock_moves_only_when_told_and_never_back(machine: Machine) -> None:
    clock = ManualClock(NOW)
    await clock.sync(Database(machine, ahead=timedelta(days=1), takes=timedelta(0)))
    assert clock.now() == NOW
    assert clock.advance(timedelta(hours=1)) == NOW + timedelta(hours=1)
    with pytest.raises(ValueError, match="does not run backwards"):
        clock.advance(timedelta(seconds=-1))


def test_ids_sort_by_the_time_of_their_making() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
