"""Keeps the inventory documents equal to AWS: read everything, compare, write the differences.

Level-triggered like all of this service: any run may be the first or be killed anywhere. Nothing is
published of a directory that was read in part, or of which too much disappeared at once.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.provisioner.identity_center import IdentityCenter, IdentityCenterError
from services.provisioner.inventory import comparison, store
from services.provisioner.inventory.comparison import KINDS
from services.provisioner.inventory.reading import HalfRead, read
from shared.context import Context
from shared.contracts.documents import Document
from shared.database.pool import Conn, transaction
from shared.documents import document_store
from shared.observability.logs import logger

INTERVAL = timedelta(minutes=10)
VANISH_SHARE = 0.05
_FIRST_RETRY = timedelta(seconds=5)
_FAILURES_BEFORE_ALERT = 3

log = logger("inventory")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one run did."""

    changed: tuple[Document, ...] = ()
    """New or different, as stored now."""
    removed: tuple[Document, ...] = ()
    """As stored now, `deleted`."""
    held: str | None = None
    """Why nothing was written although AWS says otherwise; an operator confirms or repairs."""


class InventorySync:
    """One per process. `wanted` asks for a run now; `last_read` says how far to trust the copy."""

    def __init__(
        self,
        centre: IdentityCenter,
        *,
        interval: timedelta = INTERVAL,
        vanish_share: float = VANISH_SHARE,
        may_run: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_run` is false on a standby: two readers would double the load on AWS's quota."""
        self._centre = centre
        self._interval = interval
        self._vanish_share = vanish_share
        self._may_run = may_run
        self._one_at_a_time = asyncio.Lock()
        self._failures = 0
        self.wanted = asyncio.Event()
        self.last_read: datetime | None = None
        """When AWS was last read completely."""

    async def run(self, context: Context) -> None:
        """For ever: at once, then every interval or when `wanted`."""
        while True:
            self.wanted.clear()
            pause = self._interval
            if self._may_run():
                pause = await self._attempt(context)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wanted.wait(), pause.total_seconds())

    async def sync_once(self, context: Context, *, confirm: bool = False) -> SyncResult:
        """Read AWS and write what is different, in one transaction that no AWS call is part of.

        `confirm` believes a mass disappearance: a person has looked. Raises `IdentityCenterError` or
        `HalfRead` with nothing written when AWS could not be read whole.
        """
        async with self._one_at_a_time:
            found = await read(self._centre)
            self.last_read = context.clock.now()
            async with transaction(context.pool) as conn:
                result = await self._write(conn, context, found, confirm=confirm)
            # Known here at once, not only when the broker brings it back.
            for document in (*result.changed, *result.removed):
                context.tables.take(context.service, document)
            await self._tell(context, result)
            return result

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

    async def _write(
        self, conn: Conn, context: Context, found: list[Document], *, confirm: bool
    ) -> SyncResult:
        await store.take_turns(conn)
        stored = await stored_documents(conn)
        difference = comparison.compare(stored, found)
        held = comparison.mass_disappearance(difference, stored, share=self._vanish_share)
        if held and not confirm:
            return SyncResult(held=held)
        after = list(difference.changed)
        gone = [document.model_copy(update={"deleted": True}) for document in difference.removed]
        if not after and not gone:
            return SyncResult()
        written = await document_store.put(conn, context.service, *after, *gone, at=context.clock.now())
        return SyncResult(tuple(written[: len(after)]), tuple(written[len(after) :]))

    async def _tell(self, context: Context, result: SyncResult) -> None:
        if result.held is None:
            await context.alerts.clear("inventory_held")
            log.info("inventory synced", changed=len(result.changed), removed=len(result.removed))
            return
        log.error("inventory held", reason=result.held)
        await context.alerts.raise_alert(
            key="inventory_held",
            summary="provisioner: the inventory is held, too much disappeared from AWS",
            detail=f"{result.held}; the old copy is kept until an operator confirms or they are back",
        )

    async def _alert_failing(self, context: Context, error: Exception) -> None:
        since = f"{self.last_read:%Y-%m-%d %H:%M:%SZ}" if self.last_read else "the start"
        await context.alerts.raise_alert(
            key="inventory_failing",
            summary="provisioner: the inventory cannot be read from AWS",
            detail=f"{self._failures} failures in a row, nothing read since {since}: {error}",
        )


async def stored_documents(conn: Conn) -> list[Document]:
    """The inventory as this service last published it, live documents only."""
    return [document for cls in KINDS for document in await document_store.all_of(conn, cls)]


async def preload(context: Context) -> int:
    """Put this service's own inventory into the world from its database; the number of documents.

    Administrators who stop access are then known while the broker is away. It makes nothing `ready`:
    what gives access waits for the other owners' documents all the same.
    """
    async with context.pool.acquire() as conn:
        found = await stored_documents(conn)
    for document in found:
        context.tables.take(context.service, document)
    if found:
        context.world.people_ready = True
    return len(found)
