"""What the embedded broker forgot is sent again from the outboxes.

The mock cluster keeps nothing over a restart. While everything is sent and handled, which a failing event
is not, the moment is noted; the next start replays since then, and the inboxes drop what they know.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from shared.database.pool import transaction
from shared.foundation.clock import EPOCH
from shared.messaging import outbox, relay
from shared.runtime.service import Service

EVERY_S = 2.0
MARGIN = timedelta(seconds=5)
"""Transactions that began before the moment and commit after it are within this margin."""
APART = timedelta(seconds=1)
"""Two looks so far apart see an event that passed from one service to another during the first."""


class Checkpoint:
    """The last moment at which nothing was on its way, kept in a file."""

    def __init__(self, file: Path, services: Sequence[Service]) -> None:
        self._file = file
        self._services = services
        self._quiet_at: datetime | None = None

    def read(self) -> datetime:
        if not self._file.exists():
            return EPOCH
        return datetime.fromisoformat(json.loads(self._file.read_text())["at"])

    async def replay(self) -> int:
        """Mark everything since the checkpoint as unsent; how many rows."""
        since = self.read()
        marked = 0
        for service in self._services:
            async with transaction(service.context.pool) as conn:
                marked += await outbox.replay(conn, since)
        return marked

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.note()

    async def note(self) -> bool:
        """Write the last look's moment if everything was sent and handled then, and is so right now."""
        now = self._services[0].context.clock.now()
        if not await self._quiet():
            self._quiet_at = None
            return False
        moment = self._quiet_at
        if moment is not None and now - moment < APART:
            return False
        self._quiet_at = now
        if moment is None:
            return False
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"at": (moment - MARGIN).isoformat()}))
        new.replace(self._file)
        return True

    async def _quiet(self) -> bool:
        """Nothing waits, is in hand or fails; what cannot be known is not quiet."""
        for service in self._services:
            if service.problem() or not service.consumer.caught_up():
                return False
            async with service.context.pool.acquire() as conn:
                waiting, _ = await relay.backlog(conn, now=service.context.clock.now())
            if waiting:
                return False
        return True
