"""Keeps the inventory documents equal to AWS: when to read it, and that what was read is kept and published.

Level-triggered like all of this service: any run may be the first or be killed anywhere, and goes on with
what it finds in the database. No transaction is open while AWS is read; commands/inventory.py writes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from services.provisioner.commands.inventory import (
    SyncResult,
    forget_parts,
    keep_part,
    store_inventory,
)
from services.provisioner.domain import readings
from services.provisioner.domain.inventory import GUARD, Guard
from services.provisioner.domain.readings import Directory, Part, PartKey, directory_of
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import IdentityCenterError
from services.provisioner.inventory.reading import Reading
from services.provisioner.store import inventory as store
from services.provisioner.store.lease import LeaseLost
from shared.context import Context
from shared.foundation.errors import NotReady
from shared.foundation.nudges import nudged
from shared.observability.logs import logger

INTERVAL = timedelta(minutes=10)
ANSWER_WITHIN_S: Final = 25.0
"""How long a caller waits for a reading; load balancers give up after 30 s or 60 s."""
_FIRST_RETRY = timedelta(seconds=5)
_FAILURES_BEFORE_ALERT = 3

Shown = Callable[[Directory], Awaitable[None]]

log = logger("inventory")


class HalfRead(Exception):
    """A part of AWS could not be read. What was read is kept, and the next attempt goes on from there."""


class InventorySync:
    """One per process. `wanted` asks for a run now."""

    def __init__(
        self,
        centre: IdentityCenter,
        *,
        interval: timedelta = INTERVAL,
        guard: Guard = GUARD,
        may_run: Callable[[], bool] = lambda: True,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """`may_run` is false on a standby: two readers would double the load on AWS's quota."""
        self._centre = centre
        self._interval = interval
        self._guard = guard
        self._may_run = may_run
        self._answer_within_s = answer_within_s
        self._failures = 0
        self._done: set[PartKey] | None = None
        """What the reading that is not over yet has read; None where a new one begins."""
        self._resumes = True
        """Whether the first reading goes on with what the one before the start has read."""
        self.one_at_a_time = asyncio.Lock()
        """Held by whoever reads, so that who asks twice finds the first answer."""
        self.wanted = asyncio.Event()
        self.last_read: datetime | None = None
        """When this process last read all that there was to read."""

    async def run(self, context: Context) -> None:
        """For ever: at once, then every interval or when `wanted`."""
        while True:
            self.wanted.clear()
            pause = self._interval
            if self._may_run():
                pause = await self._attempt(context)
            else:
                self._done, self._resumes = None, True
            await nudged(self.wanted, pause.total_seconds())

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """`one_at_a_time` for a caller. Raises NotReady where it is held for longer than a caller waits."""
        try:
            async with asyncio.timeout(self._answer_within_s):
                await self.one_at_a_time.acquire()
        except TimeoutError:
            raise still_reading() from None
        try:
            yield
        finally:
            self.one_at_a_time.release()

    async def sync_once(self, context: Context) -> SyncResult:
        """Read AWS and write what is different, in transactions that no AWS call is part of.

        Raises `HalfRead` where a part could not be read, with all that was read stored.
        """
        written: list[SyncResult] = []

        async def shown(directory: Directory) -> None:
            written.append(await self._store(context, directory))

        async with self.one_at_a_time:
            await shown(await self._read(context, shown))
        return together(written)

    async def read_for_caller(self, context: Context) -> Directory:
        """The organisation as AWS has it now; the caller has its `turn`.

        Raises NotReady where AWS cannot be read, where another replica is the one that reads it, or where it
        takes longer than a caller waits: then it goes on without them.
        """
        try:
            async with asyncio.timeout(self._answer_within_s):
                return await self._read(context, _nobody)
        except LeaseLost:
            raise NotReady(
                "another replica holds the lease and is the one that reads AWS; ask that one", code="standby"
            ) from None
        except HalfRead as error:
            raise NotReady(f"AWS could not be read: {error}", code="aws_unreadable") from error
        except TimeoutError:
            self.wanted.set()
            raise still_reading() from None

    async def _read(self, context: Context, shown: Shown) -> Directory:
        """Go on with the reading that broke off, or begin one. `shown` sees what is known on the way."""
        async with context.pool.acquire() as conn:
            parts = await store.parts(conn)
        reading = self._reading(context, parts, shown)
        self._done = reading.done
        await reading.run()
        await self._forget(context, reading)
        directory = directory_of(reading.parts)
        if reading.problems or directory is None:
            if directory is not None:
                await self._store(context, directory)
            raise HalfRead(f"{len(reading.problems)} part(s) of AWS could not be read: {reading.problems[0]}")
        self._done, self.last_read = None, context.clock.now()
        return directory

    def _reading(self, context: Context, parts: dict[PartKey, Part], shown: Shown) -> Reading:
        one_by_one = asyncio.Lock()

        async def keep(part: Part) -> None:
            async with context.unit_of_work() as work:
                await keep_part(work, part)

        async def show() -> None:
            async with one_by_one:
                if (directory := await asyncio.to_thread(directory_of, dict(parts))) is not None:
                    await shown(directory)

        now, within = context.clock.now, self._guard.details_within
        return Reading(
            self._centre,
            parts,
            self._begun(context, parts),
            share=self._interval / within,
            overdue=now() - within,
            now=now,
            keep=keep,
            shown=show,
        )

    async def _store(self, context: Context, directory: Directory) -> SyncResult:
        async with context.unit_of_work() as work:
            return await store_inventory(context, work, directory, guard=self._guard)

    def _begun(self, context: Context, parts: dict[PartKey, Part]) -> set[PartKey]:
        """What was read already: by this process, or before the start no longer ago than an interval."""
        resumes, self._resumes = self._resumes, False
        if self._done is not None:
            return self._done
        if not resumes:
            return set()
        since = context.clock.now() - self._interval
        return {key for key, part in parts.items() if part.read_at > since}

    async def _forget(self, context: Context, reading: Reading) -> None:
        """Parts of what is not there any more, so that they do not count as old ones."""
        gone = reading.parts.keys() - readings.wanted(reading.parts)
        if gone and directory_of(reading.parts) is not None:
            async with context.unit_of_work() as work:
                await forget_parts(work, gone)
            for key in gone:
                del reading.parts[key]

    async def _attempt(self, context: Context) -> timedelta:
        """One run; the pause until the next, shorter after a failure."""
        try:
            await self.sync_once(context)
        except (IdentityCenterError, HalfRead) as error:
            self._failures += 1
            log.warning("inventory not read", error=str(error), failures=self._failures)
            if self._failures >= _FAILURES_BEFORE_ALERT:
                await self._alert_failing(context, error)
            backoff: timedelta = _FIRST_RETRY * (1 << min(self._failures - 1, 10))
            return min(backoff, self._interval)
        self._failures = 0
        await context.alerts.clear("inventory_failing")
        return self._interval

    async def _alert_failing(self, context: Context, error: Exception) -> None:
        since = f"{self.last_read:%Y-%m-%d %H:%M:%SZ}" if self.last_read else "the start"
        await context.alerts.raise_alert(
            key="inventory_failing",
            summary="provisioner: a part of the inventory cannot be read from AWS",
            detail=f"{self._failures} failures in a row, not all was read since {since}: {error}",
        )


def still_reading() -> NotReady:
    return NotReady(
        "AWS is still being read, and will be without you; GET /v1/inventory shows how far it is",
        code="still_reading",
    )


async def _nobody(_: Directory) -> None:
    """What is known on the way is of no interest."""


def together(written: Sequence[SyncResult]) -> SyncResult:
    """What the writes of one reading came to; the last one says what is held."""
    changed = {document.key: document for one in written for document in one.changed}
    removed = {document.key: document for one in written for document in one.removed}
    return SyncResult(tuple(changed.values()), tuple(removed.values()), written[-1].held, written[-1].hold)
