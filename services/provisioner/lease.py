"""One active engine: the lease as this process holds it, checked right before each call to AWS.

The row and its SQL are in store/lease.py. A holder that cannot renew stops sending by itself, before a
standby may take over; a holder that was paused finds its time over when it wakes. Both count time by a clock
that nobody sets: the holder from its last renewal, the standby from when it saw the row last move.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

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
from shared.database.pool import Pool, transaction
from shared.foundation.clock import Clock
from shared.observability.logs import logger

RENEW_EVERY_S = 1.0

log = logger("lease")


class Lease:
    """`ttl` must exceed `call_timeout`: a call is only begun if it must have ended before the deadline."""

    def __init__(
        self,
        *,
        pool: Callable[[], Pool],
        clock: Clock,
        holder: str,
        ttl: timedelta,
        call_timeout: timedelta,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:
        if ttl <= call_timeout:
            raise ValueError("the lease must last longer than a call to AWS may take")
        self.holder = holder
        self._pool = pool
        self._clock = clock
        self._ttl = ttl
        self._call_timeout = call_timeout
        self._sleep = sleep
        self._on_taken = on_taken
        self._epoch: int | None = None
        self._ends: timedelta | None = None
        """When it runs out, by `Clock.elapsed`."""
        self._watched: tuple[LeaseRow, timedelta] | None = None
        """Another's, as it was first seen, and when."""

    @property
    def held(self) -> bool:
        """Whether a call begun now would end before anybody else may become active."""
        return (
            self._epoch is not None
            and self._ends is not None
            and self._ends - self._clock.elapsed() > self._call_timeout
        )

    @property
    def epoch(self) -> int:
        """The fence for writes. Raises LeaseLost when there is none."""
        if self._epoch is None:
            raise LeaseLost("the lease is not held")
        return self._epoch

    def check(self) -> None:
        """To be asked right before each send. Raises LeaseLost."""
        if not self.held:
            raise LeaseLost("the lease is about to run out or already has")

    async def renew(self) -> bool:
        """Renew, or take what has run out; whether it is held afterwards.

        Nothing is believed before it is committed. A row that is locked for too long (a transaction of the
        engine that stands still) raises, and is tried again a second later by `run`: the time counts from
        before the wait, so that waiting only shortens what is left.
        """
        ends, deadline = self._clock.elapsed() + self._ttl, self._clock.now() + self._ttl
        if self._epoch is not None:
            async with transaction(self._pool()) as conn:
                renewed = await renew_lease(conn, epoch=self._epoch, deadline=deadline)
            if renewed:
                self._ends = ends
                return self.held
        lost, self._epoch = self._epoch, None
        async with transaction(self._pool()) as conn:
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

        A process that starts believes the deadline, having watched nothing yet, and takes what is in its own
        name: its predecessor of that name is gone. Only then: two replicas of one name would otherwise take
        it from each other for ever.
        """
        if self._watched is None:
            return seen.deadline <= self._clock.now() or seen.holder == self.holder
        before, since = self._watched
        is_silent = seen == before and self._clock.elapsed() - since >= self._ttl
        return seen.deadline == RELEASED or is_silent

    def _watch(self, seen: LeaseRow) -> None:
        if self._watched is None or self._watched[0] != seen:
            self._watched = (seen, self._clock.elapsed())

    async def release(self) -> None:
        """At a clean stop: the standby takes over at once."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            async with transaction(self._pool()) as conn:
                await release_lease(conn, epoch=epoch)

    async def run(self) -> None:
        """Keep it, or wait for it; ends by cancellation, letting it go if the database is there."""
        try:
            while True:
                try:
                    await self.renew()
                except DATABASE_AWAY as error:
                    log.warning("lease not renewed", error=f"{type(error).__name__}: {error}")
                await self._sleep(RENEW_EVERY_S)
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        try:
            await asyncio.wait_for(self.release(), 2)
        except DATABASE_AWAY as error:
            log.warning("lease not released, it runs out", error=f"{type(error).__name__}: {error}")
