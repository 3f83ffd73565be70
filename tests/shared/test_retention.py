"""What is forgotten, and that nobody waits for the forgetting."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from shared.database.pool import Pool
from shared.database.retention import forget_for_ever, purge
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.messaging import outbox
from shared.messaging.retention import KEEP_IDEMPOTENCY, KEEP_INBOX, KEEP_LETTERS, KEEP_SENT, RULES
from tests.support.corridor import fact, say
from tests.support.harness import NOW
from tests.support.units import unit
from tests.support.waiting import until

MOMENT = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=1000)
"""The database deletes nothing that is young by its own clock."""


@pytest.mark.parametrize("batch", [1, 5000])
async def test_purge_forgets_what_is_past_its_retention_and_never_the_unsent(pool: Pool, batch: int) -> None:
    old = NOW - timedelta(days=46)
    await say(pool, "ticket", "unsent", 1)
    async with unit(pool) as work:
        outbox.append(
            work, "ticket", fact("unsent", 2, at=old), fact("sent", 3, at=old), fact("new", 4, at=NOW)
        )
        await document_store.publish_marker(work, "ticket", at=NOW - timedelta(days=2))
        await document_store.publish_marker(work, "ticket", at=NOW)
        await work.write_collected()
        await work.conn.execute("UPDATE outbox SET sent_at = $1 WHERE key <> 'unsent'", NOW)
        await work.conn.execute(
            "INSERT INTO inbox (event_id, source, received_at) "
            "VALUES (gen_random_uuid(), 'ticket', $1), (gen_random_uuid(), 'ticket', $2)",
            old,
            NOW,
        )
        for key, at in (("a", old), ("b", NOW)):
            await work.conn.execute(
                "INSERT INTO idempotency_key (caller, key, request_hash, created_at) "
                "VALUES ('c', $1, 'h', $2)",
                key,
                at,
            )
    assert await purge(pool, RULES, now=NOW, batch=batch) == 4
    kept = await pool.fetch("SELECT key FROM outbox ORDER BY id")
    assert [row["key"] for row in kept] == ["unsent", "unsent", "new", "marker/ticket"]
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 1
    assert await pool.fetchval("SELECT array_agg(key) FROM idempotency_key") == ["b"]


async def _old(pool: Pool, count: int) -> None:
    """Rows that were sent long ago."""
    async with unit(pool) as work:
        outbox.append(
            work, "ticket", *(fact("k", number, at=NOW - timedelta(days=31)) for number in range(count))
        )
        await work.write_collected()
        await work.conn.execute("UPDATE outbox SET sent_at = $1", NOW)


async def test_purge_by_two_at_once_forgets_everything(pool: Pool) -> None:
    await _old(pool, 40)
    await asyncio.gather(*(purge(pool, RULES, now=NOW, batch=3) for _ in range(4)))
    await purge(pool, RULES, now=NOW)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_run_forgets_at_its_start(pool: Pool) -> None:
    await _old(pool, 7)
    task = asyncio.create_task(forget_for_ever(pool, ManualClock(NOW), RULES))
    try:
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM outbox"))
    finally:
        task.cancel()


MOMENTS = {
    "outbox": (
        KEEP_SENT,
        """
        INSERT INTO outbox (event_id, topic, key, type, payload, headers, created_at, sent_at)
        VALUES (gen_random_uuid(), 't', 'k', 'x', '', '{}', $1, $1)
        """,
    ),
    "inbox": (
        KEEP_INBOX,
        "INSERT INTO inbox (event_id, source, received_at) VALUES (gen_random_uuid(), 's', $1)",
    ),
    "idempotency_key": (
        KEEP_IDEMPOTENCY,
        "INSERT INTO idempotency_key (caller, key, request_hash, created_at) VALUES ('c', 'k', 'h', $1)",
    ),
    "dead_letter": (
        KEEP_LETTERS,
        """
        INSERT INTO dead_letter (id, topic, partition, "offset", headers, error, parked_at)
        VALUES (gen_random_uuid(), 't', 0, 0, '[]', 'e', $1)
        """,
    ),
}


@pytest.mark.parametrize("table", MOMENTS)
async def test_purge_forgets_just_after_the_limit_and_not_at_it(pool: Pool, table: str) -> None:
    keep, insert = MOMENTS[table]
    await pool.execute(insert, LONG_AGO)
    assert await purge(pool, RULES, now=LONG_AGO + keep - MOMENT) == 0
    assert await purge(pool, RULES, now=LONG_AGO + keep) == 0
    assert await purge(pool, RULES, now=LONG_AGO + keep + MOMENT) == 1
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_parked_record_that_is_young_cannot_be_deleted(pool: Pool) -> None:
    _, insert = MOMENTS["dead_letter"]
    (young,) = await pool.fetchrow("SELECT now() - interval '29 days'")
    await pool.execute(insert, young)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is not deleted within 30 days"):
        await pool.execute("DELETE FROM dead_letter")
