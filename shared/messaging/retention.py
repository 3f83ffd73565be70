"""Forgets rows past their retention: outbox, inbox and idempotency keys.

A task of its own on the pool, in batches that commit one by one: neither the relay nor a command waits for
it. Started by shared/runtime/service.py in every replica; rows are locked in one order, so that two may meet.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from shared.contracts import topics
from shared.contracts.stop import AFTERWARDS
from shared.database.pool import Pool
from shared.foundation.clock import Clock
from shared.messaging.outbox import MARKER_TYPE

KEEP_SENT: Final = timedelta(days=30)
"""But for stops: until the last window that one can meet has ended, and then as long as readers remember it,
so that a reader that lost its own can have them sent again."""
KEEP_INBOX: Final = timedelta(days=45)
KEEP_IDEMPOTENCY: Final = timedelta(days=7)
KEEP_MARKERS: Final = timedelta(days=1)
"""One is written every ten seconds by each replica, and only the newest says anything."""
EVERY_S: Final = 3600.0
BATCH: Final = 5000
"""Rows a statement: well under a second, so that no lock of its is noticed."""

_SENT: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND created_at < $1 AND topic <> $3
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
# Of CASE's condition the body is read only where it holds. A stop that names no end is kept.
_STOPS: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND created_at < $1 AND CASE WHEN topic = $3
            THEN (convert_from(payload, 'UTF8')::json ->> 'ends_by')::timestamptz < $4 END
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
_MARKERS: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND type = $3 AND created_at < $1
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
_INBOX: Final = """
    DELETE FROM inbox WHERE (event_id, source) IN (
        SELECT event_id, source FROM inbox WHERE received_at < $1
        ORDER BY received_at, event_id LIMIT $2 FOR UPDATE
    )
"""
_IDEMPOTENCY: Final = """
    DELETE FROM idempotency_key WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency_key WHERE created_at < $1
        ORDER BY created_at, key LIMIT $2 FOR UPDATE
    )
"""


async def run(pool: Pool, clock: Clock) -> None:
    """At the start and every hour; ends only by cancellation."""
    while True:
        await purge(pool, now=clock.now())
        await asyncio.sleep(EVERY_S)


async def purge(pool: Pool, *, now: datetime, batch: int = BATCH) -> int:
    """Forget what is past its retention and say how many rows; unsent ones are never forgotten."""
    return (
        await _delete(pool, _SENT, now - KEEP_SENT, batch, topics.STOP)
        + await _delete(pool, _STOPS, now - KEEP_SENT, batch, topics.STOP, now - AFTERWARDS)
        + await _delete(pool, _MARKERS, now - KEEP_MARKERS, batch, MARKER_TYPE)
        + await _delete(pool, _INBOX, now - KEEP_INBOX, batch)
        + await _delete(pool, _IDEMPOTENCY, now - KEEP_IDEMPOTENCY, batch)
    )


async def _delete(pool: Pool, statement: str, before: datetime, batch: int, *more: str | datetime) -> int:
    """Batch after batch until one is not full."""
    total = 0
    while True:
        status = await pool.execute(statement, before, batch, *more)
        deleted = int(status.rsplit(" ", 1)[-1])
        total += deleted
        if deleted < batch:
            return total
