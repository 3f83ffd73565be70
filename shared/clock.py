"""The one authority for time and ids.

Time is the database's clock: `Clock` keeps the offset between this machine and the database and
everybody else receives `now` as a value. Nothing else in the project may read a clock or make an id.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import uuid_utils

LONGEST_ROUND_TRIP: Final = timedelta(seconds=1)


class ReadsClock(Protocol):
    """What `Clock.sync` needs of a database connection."""

    async def fetchval(self, query: str) -> datetime | None: ...


class Clock:
    """UTC now by the database's clock.

    Before the first `sync` the offset is zero. Sharing one instance between the services of a
    process is what lets a test move all of them through time together.
    """

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._synced = False

    @property
    def offset(self) -> timedelta:
        """Database time minus this machine's time, as last measured."""
        return self._offset

    def now(self) -> datetime:
        return _machine_time() + self._offset

    async def sync(self, conn: ReadsClock) -> timedelta:
        """Measure the offset against the database, taking the middle of the round trip as the moment.

        A slow round trip (a blocked loop, a stalled server) may be off by half of itself: after the
        first one, what took over a second is thrown away.
        """
        before = _machine_time()
        theirs = await conn.fetchval("SELECT clock_timestamp()")
        after = _machine_time()
        if theirs is not None and (not self._synced or after - before <= LONGEST_ROUND_TRIP):
            self._synced = True
            self._offset = theirs - (before + (after - before) / 2)
        return self._offset


class ManualClock(Clock):
    """A clock that moves only when told to; for tests, and refused by `Service` in production."""

    def __init__(self, start: datetime) -> None:
        super().__init__()
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sync(self, conn: ReadsClock) -> timedelta:  # noqa: ARG002 (a manual clock follows nobody)
        return self._offset

    def advance(self, by: timedelta) -> datetime:
        if by < timedelta(0):
            raise ValueError("a manual clock does not run backwards: advance() takes a positive timedelta")
        self._now += by
        return self._now


def new_id() -> str:
    """A UUIDv7: unique, and sortable by the time of its making."""
    return str(uuid_utils.uuid7())


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _machine_time() -> datetime:
    return datetime.now(UTC)
