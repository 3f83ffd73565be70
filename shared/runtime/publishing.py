"""Keeps a topic of documents holding what its owner has stored, and says every ten seconds that it does.

A start publishes what the topic lacks and nothing else, in batches that commit one by one. Started by
shared/runtime/service.py where the service owns documents; what the topic holds comes from the table reader
(shared/documents/tables.py), so nothing is published while the broker is away.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from shared.context import Context
from shared.documents import document_store
from shared.foundation.nudges import nudged
from shared.observability.logs import logger

MARKER_EVERY_S: Final = 10.0
BATCH: Final = 500
"""Documents a transaction: some hundred milliseconds in which no other document can be written."""

log = logger("documents")


class Publisher:
    """One per service that owns documents."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._again = asyncio.Event()
        self._compared = False
        context.tables.remember(context.service)
        self.problem: str | None = None
        """Why this service must not publish; None while it may."""

    def republish(self) -> None:
        """Publish every document again, soon: for a topic that lost some while the service ran."""
        self._again.set()

    async def run(self) -> None:
        """For ever; may be started again at any time."""
        if not self._compared:
            await self._publish_lacking()
        while True:
            await self._mark()
            if await nudged(self._again, MARKER_EVERY_S):
                await self._publish(sorted((await self._stored()).values()))
                self._again.clear()

    async def _publish_lacking(self) -> None:
        tables, service = self._context.tables, self._context.service
        held = dict(await tables.held_by_topic(service))  # before the database is asked: never ahead of it
        stored = await self._stored()
        if newer := [key for key, revision in held.items() if revision > stored.get(key, 0)]:
            await self._refuse(newer, up_to=max(held.values()))
        await self._publish(lacking(stored, held))
        tables.forget(service)
        self._compared = True

    async def _stored(self) -> Mapping[str, int]:
        async with self._context.pool.acquire() as conn:
            return await document_store.revisions(conn)

    async def _publish(self, revisions: Sequence[int]) -> None:
        context = self._context
        for first in range(0, len(revisions), BATCH):
            batch = revisions[first : first + BATCH]
            async with context.unit_of_work() as work:
                await document_store.republish(work, context.service, batch, at=context.clock.now())
        if revisions:
            log.info("documents published again", service=context.service, count=len(revisions))

    async def _mark(self) -> None:
        context = self._context
        async with context.unit_of_work() as work:
            read_at = await context.read_at(work.conn)
            await document_store.publish_marker(
                work, context.service, at=context.clock.now(), read_at=read_at
            )

    async def _refuse(self, newer: Sequence[str], *, up_to: int) -> None:
        """The database was restored to an earlier moment: whatever it says now, readers would not believe.

        Without markers all copies become stale, so that writes wait everywhere. Never returns: whoever has
        mended it starts the service anew.
        """
        self.problem = "documents: the topic holds newer ones than the restored database; see the runbook"
        async with self._context.pool.acquire() as conn:
            await document_store.note_topic(conn, up_to)
        await self._context.alerts.raise_alert(
            key="documents_behind",
            summary=f"{self._context.service}: its topic holds newer documents than its database",
            detail=f"{len(newer)} documents, {', '.join(sorted(newer)[:3])} among them; nothing is "
            "published, and writes wait everywhere, until its counter is ahead again: see the runbook",
        )
        await asyncio.get_running_loop().create_future()


def lacking(stored: Mapping[str, int], held: Mapping[str, int]) -> list[int]:
    """The revisions that a topic lacks which holds those keys in those revisions."""
    return sorted(revision for key, revision in stored.items() if revision > held.get(key, 0))
