"""One active engine: the lease as this process holds it, checked right before each call to AWS.

The row and its SQL are in store/lease.py. A holder that cannot renew stops sending by itself, before a
standby may take over; a holder that was paused finds its time over when it wakes. Both count time by a clock
that nobody sets: the holder from its last renewal, the standby from when it saw the row last move. Only
changes have to end within the lease: what an old engine reads changes nothing in AWS, and what it writes here
is fenced by its epoch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from services.provisioner.store.errors import DATABASE_AWAY
from services.provisioner.store.lease import (
    RELEASED,
    LeaseLost,
    LeaseRow,
    read_lease,
    release_lease,
    renew_lease,
    take_lease,
)
from shared.database.pool import Pool
from shared.foundation.clock import Clock
from shared.observability.logs import logger

RENEW_EVERY_S: Final = 0.5
WATCH_EVERY_S: Final = 0.25
"""A standby looks so often, and in the moment in which the lease runs out."""

log = logger("lease")


class Lease:
    """`ttl` must exceed `change_timeout`: a change is only begun if it must have ended by the deadline."""

    def __init__(
        self,
        *,
        pool: Callable[[], Pool],
        clock: Clock,
        holder: str,
        ttl: timedelta,
        change_timeout: timedelta,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:
        if ttl <= change_timeout:
            raise ValueError("the lease must last longer than a change in AWS may take")
        self.holder = holder
        self._pool = pool
        self._clock = clock
        self._ttl = ttl
        self._change_timeout = change_timeout
        self._sleep = sleep
        self._on_taken = on_taken
        self._epoch: int | None = None
        self._ends: timedelta | None = None
        """When it runs out, by `Clock.elapsed`."""
        self._watched: tuple[LeaseRow, timedelta] | None = None
        """Another's, as it was first seen, and when."""

    @property
    def held(self) -> bool:
        """Whether nobody else may be active yet: enough for what only reads."""
        return self._left > timedelta(0)

    @property
    def may_change(self) -> bool:
        """Whether a change begun now would end before anybody else may become active."""
        return self._left > self._change_timeout

    @property
    def epoch(self) -> int:
        """The fence for writes. Raises LeaseLost when there is none."""
        if self._epoch is None:
            raise LeaseLost("the lease is not held")
        return self._epoch

    @property
    def _left(self) -> timedelta:
        if self._epoch is None or self._ends is None:
            return timedelta(0)
        return self._ends - self._clock.elapsed()

    def check(self, *, changes: bool) -> None:
        """To be asked right before each send. Raises LeaseLost."""
        if not (self.may_change if changes else self.held):
            raise LeaseLost("the lease is about to run out or already has")

    async def renew(self) -> bool:
        """Renew, or take what has run out; whether it is held afterwards.

        Each statement is a transaction of its own, so that a process that stands still keeps the row from
        nobody; nothing is believed before it is committed. Whatever raises is tried again by `run`. The time
        counts from before the statement: a slow one only shortens what is left.
        """
        ends, deadline = self._clock.elapsed() + self._ttl, self._clock.now() + self._ttl
        if self._epoch is not None:
            async with self._pool().acquire() as conn:
                renewed = await renew_lease(conn, epoch=self._epoch, deadline=deadline)
            if renewed:
                self._ends = ends
                return self.held
        lost, self._epoch = self._epoch, None
        async with self._pool().acquire() as conn:
            seen = await read_lease(conn)
            taken = None
            if self._has_run_out(seen):
                taken = await take_lease(conn, seen, holder=self.holder, deadline=deadline)
        self._watch(seen)
        if taken is not None:
            log.info("lease taken", holder=self.holder, epoch=taken)
            self._epoch, self._ends = taken, ends
            self._on_taken()
        elif lost is not None:
            log.warning("lease lost", holder=self.holder, epoch=lost)
        return self.held

    def _has_run_out(self, seen: LeaseRow) -> bool:
        """Whether its holder let it go, or was silent for as long as it lasts: by our own watch.

        The deadline is by a clock that may be set, and is not believed: a process that starts watches first.
        Only what is in its own name it takes at once, since its predecessor of that name is gone. Only then:
        two replicas of one name would otherwise take it from each other for ever.
        """
        if seen.deadline == RELEASED:
            return True
        if self._watched is None:
            return seen.holder == self.holder
        before, since = self._watched
        return seen == before and self._clock.elapsed() - since >= self._ttl

    def _watch(self, seen: LeaseRow) -> None:
        if self._watched is None or self._watched[0] != seen:
            self._watched = (seen, self._clock.elapsed())

    async def release(self) -> None:
        """At a clean stop: the standby takes over at once."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            async with self._pool().acquire() as conn:
                await release_lease(conn, epoch=epoch)

    async def run(self) -> None:
        """Keep it, or wait for it; ends by cancellation, letting it go if the database is there."""
        try:
            while True:
                try:
                    await self.renew()
                except DATABASE_AWAY as error:
                    log.warning("lease not renewed", error=f"{type(error).__name__}: {error}")
                await self._sleep(self._pause_s())
        finally:
            await self._let_go()

    def _pause_s(self) -> float:
        if self._epoch is not None:
            return RENEW_EVERY_S
        if self._watched is None:
            return WATCH_EVERY_S
        left = self._watched[1] + self._ttl - self._clock.elapsed()
        return min(WATCH_EVERY_S, left.total_seconds()) if left > timedelta(0) else WATCH_EVERY_S

    async def _let_go(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self.release()
        except DATABASE_AWAY as error:
            log.warning("lease not released, it runs out", error=f"{type(error).__name__}: {error}")
