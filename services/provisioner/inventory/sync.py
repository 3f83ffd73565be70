"""Keeps the inventory documents equal to AWS: read everything, then have what is different written.

Level-triggered like all of this service: any run may be the first or be killed anywhere. No transaction is
open while AWS is read; commands/inventory.py writes.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from services.provisioner.commands.inventory import VANISH_SHARE, SyncResult, store_inventory
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import IdentityCenterError
from services.provisioner.inventory.reading import HalfRead, read
from services.provisioner.store.lease import LeaseLost
from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.documents import Document
from shared.foundation.errors import NotReady
from shared.observability.logs import logger

INTERVAL = timedelta(minutes=10)
_FIRST_RETRY = timedelta(seconds=5)
_FAILURES_BEFORE_ALERT = 3

log = logger("inventory")


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
        self._failures = 0
        self.one_at_a_time = asyncio.Lock()
        """Held by whoever reads, so that who asks twice finds the first answer."""
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

    async def sync_once(self, context: Context, *, confirmed: Origin | None = None) -> SyncResult:
        """Read AWS and write what is different, in one transaction that no AWS call is part of.

        `confirmed` believes a mass disappearance: a person has looked. Raises `IdentityCenterError` or
        `HalfRead` with nothing written when AWS could not be read whole.
        """
        async with self.one_at_a_time:
            found = await self._read(context)
            async with context.unit_of_work() as work:
                return await store_inventory(
                    context, work, found, confirmed=confirmed, vanish_share=self._vanish_share
                )

    async def read_for_caller(self, context: Context) -> list[Document]:
        """The organisation as AWS has it now; the caller holds `one_at_a_time`.

        Raises NotReady where AWS cannot be read, or where another replica is the one that reads it.
        """
        try:
            return await self._read(context)
        except LeaseLost:
            raise NotReady(
                "another replica holds the lease and is the one that reads AWS; ask that one", code="standby"
            ) from None
        except (IdentityCenterError, HalfRead) as error:
            raise NotReady(f"AWS could not be read: {error}", code="aws_unreadable") from error

    async def _read(self, context: Context) -> list[Document]:
        found = await read(self._centre)
        self.last_read = context.clock.now()
        return found

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
            summary="provisioner: the inventory cannot be read from AWS",
            detail=f"{self._failures} failures in a row, nothing read since {since}: {error}",
        )
