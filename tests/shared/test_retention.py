"""What is forgotten, and that nobody waits for the forgetting."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from shared.contracts.stop import TicketTerminated
from shared.database.pool import Pool
from shared.database.retention import forget_for_ever, purge
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.messaging import outbox
from shared.messaging.retention import KEEP_IDEMPOTENCY, KEEP_INBOX, KEEP_LETTERS, KEEP_SENT, RULES
from tests.support.corridor import fact, say
from tests.support.facts import example
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


async def _stopped(pool: Pool, *ends: timedelta, said: timedelta) -> None:
    """Stops that were said and sent so long ago, of windows that end then, seen from now."""
    async with unit(pool) as work:
        stops = [example(TicketTerminated).model_copy(update={"ends_by": NOW + end}) for end in ends]
        outbox.append(work, "ticket", *(stop.model_copy(update={"at": NOW - said}) for stop in stops))
        await work.write_collected()
        await work.conn.execute("UPDATE outbox SET sent_at = $1", NOW)


async def _ends_kept(pool: Pool) -> list[timedelta]:
    rows = await pool.fetch("SELECT payload FROM outbox ORDER BY id")
    stops = [TicketTerminated.model_validate_json(row["payload"]) for row in rows]
    return [stop.ends_by - NOW for stop in stops if stop.ends_by]


@pytest.mark.parametrize("batch", [1, 5000])
async def test_purge_keeps_a_stop_as_long_as_its_readers_do(pool: Pool, batch: int) -> None:
    """So that one which lost its database can have sent again what may still be met."""
    day = timedelta(days=1)
    await _stopped(pool, 200 * day, -44 * day, -45 * day, -46 * day, -46 * day, said=300 * day)
    assert await purge(pool, RULES, now=NOW, batch=batch) == 2
    assert await _ends_kept(pool) == [200 * day, -44 * day, -45 * day]


async def test_purge_keeps_a_stop_as_long_as_any_other_fact(pool: Pool) -> None:
    day = timedelta(days=1)
    await _stopped(pool, -90 * day, said=29 * day)
    assert await purge(pool, RULES, now=NOW) == 0


async def test_purge_keeps_a_stop_that_names_no_end_and_one_that_is_not_sent(pool: Pool) -> None:
    await _stopped(pool, timedelta(days=-90), said=timedelta(days=100))
    await pool.execute("UPDATE outbox SET sent_at = NULL")
    async with unit(pool) as work:
        endless = {"ends_by": None, "at": NOW - timedelta(days=100)}
        outbox.append(work, "ticket", example(TicketTerminated).model_copy(update=endless))
        await work.write_collected()
        await work.conn.execute("UPDATE outbox SET sent_at = $1 WHERE id = (SELECT max(id) FROM outbox)", NOW)
    assert await purge(pool, RULES, now=NOW) == 0


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
