"""The one authority for time and ids.

Time is the database's clock: `Clock` counts from what the database said last, and everybody else
receives `now` as a value. Nothing else in the project may read a clock or make an id.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import uuid_utils

LONGEST_ROUND_TRIP: Final = timedelta(seconds=1)


class ReadsClock(Protocol):
    """What `Clock.sync` needs of a database connection."""

    async def fetchval(self, query: str) -> datetime | None: ...


class Clock:
    """UTC now by the database's clock.

    Counted from the last `sync` by a clock that cannot be set: a step of this machine's wall clock
    moves nothing. The wall clock is believed once, when the clock is made, until the first `sync`.
    Sharing one instance between the services of a process is what lets a test move all of them
    through time together.
    """

    def __init__(self) -> None:
        self._time, self._ticks = _machine_time(), _ticks()
        self._offset = timedelta(0)
        self._synced = False

    @property
    def offset(self) -> timedelta:
        """Database time minus this machine's wall clock, as last measured; for metrics only."""
        return self._offset

    def now(self) -> datetime:
        return self._time + (_ticks() - self._ticks)

    def elapsed(self) -> timedelta:
        """Time since some moment, which no step of any clock moves; only differences mean anything."""
        return _ticks()

    async def sync(self, conn: ReadsClock) -> timedelta:
        """Ask the database, taking the middle of the round trip as the moment; returns the offset.

        A slow round trip (a blocked loop, a stalled server) may be off by half of itself: after the
        first one, what took over a second is thrown away.
        """
        before = _ticks()
        theirs = await conn.fetchval("SELECT clock_timestamp()")
        took = _ticks() - before
        if theirs is not None and (not self._synced or took <= LONGEST_ROUND_TRIP):
            self._synced = True
            self._time, self._ticks = theirs, before + took / 2
            self._offset = self.now() - _machine_time()
        return self._offset


class ManualClock(Clock):
    """A clock that moves only when told to; for tests, and refused by `Service` in production."""

    def __init__(self, start: datetime) -> None:
        super().__init__()
        self._now = start
        self._elapsed = timedelta(0)

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> timedelta:
        return self._elapsed

    async def sync(self, conn: ReadsClock) -> timedelta:  # noqa: ARG002 (a manual clock follows nobody)
        return self._offset

    def advance(self, by: timedelta) -> datetime:
        if by < timedelta(0):
            raise ValueError("time does not run backwards; step() sets the clock")
        self._elapsed += by
        return self.step(by)

    def step(self, by: timedelta) -> datetime:
        """Set the clock, forward or back, as a correction of the database's does: no time passes."""
        self._now += by
        return self._now


def new_id() -> str:
    """A UUIDv7: unique, and sortable by the time of its making."""
    return str(uuid_utils.uuid7())


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


_UNSETTABLE: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's goes on while the machine sleeps, which is why it is preferred."""


def _machine_time() -> datetime:
    return datetime.now(UTC)


def _ticks() -> timedelta:
    """Time since some moment; only differences mean anything."""
    return timedelta(microseconds=time.clock_gettime_ns(_UNSETTABLE) // 1000)
