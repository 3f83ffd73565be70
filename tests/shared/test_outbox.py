"""What a command stores is what will be sent: exactly when it commits, with its envelope, by its owner."""

import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from shared.contracts import topics
from shared.contracts.documents import ApprovalRule, RegisteredAccount
from shared.contracts.stop import TicketTerminated
from shared.contracts.ticket import TicketTimedOut
from shared.database.pool import Pool, transaction
from shared.documents import document_store
from shared.foundation.errors import Bug
from shared.messaging import outbox
from shared.messaging.envelope import read_envelope
from shared.messaging.relay import backlog, head
from tests.support.corridor import fact
from tests.support.facts import example
from tests.support.harness import NOW
from tests.support.units import unit


async def test_append_stores_the_event_with_its_envelope(pool: Pool) -> None:
    event = fact("k", 1, at=NOW)
    async with unit(pool) as work:
        (event_id,) = outbox.append(work, "ticket", event)
    row = await pool.fetchrow("SELECT * FROM outbox")
    assert row is not None
    assert (row["topic"], row["key"], row["type"]) == (topics.TICKET, "k", "account.changed.v1")
    assert json.loads(row["payload"]) == event.model_dump(mode="json")
    assert row["sent_at"] is None
    envelope = read_envelope(row["headers"])
    assert (envelope.id, envelope.source, envelope.subject) == (event_id, "ticket", "k")
    assert envelope.time == NOW
    assert UUID(event_id).version == 7


async def test_append_keeps_the_order_of_its_events(pool: Pool) -> None:
    async with unit(pool) as work:
        ids = outbox.append(work, "ticket", *(fact("k", number) for number in range(5)))
    rows = await pool.fetch("SELECT event_id FROM outbox ORDER BY id")
    assert [str(row["event_id"]) for row in rows] == ids


async def test_append_sends_a_stop_on_the_road_of_stops(pool: Pool) -> None:
    async with unit(pool) as work:
        outbox.append(work, "ticket", fact("k", 1), example(TicketTerminated), example(TicketTimedOut))
    rows = await pool.fetch("SELECT topic FROM outbox ORDER BY id")
    assert [row["topic"] for row in rows] == [topics.TICKET, topics.STOP, topics.TICKET]


async def test_append_of_a_fact_that_is_anothers_to_say_is_a_bug(pool: Pool) -> None:
    async with unit(pool) as work:
        with pytest.raises(Bug, match=r"ticket\.terminated\.v1 is not approval's to say; this is a bug"):
            outbox.append(work, "approval", example(TicketTerminated))


async def append_and_fail(pool: Pool) -> None:
    async with unit(pool) as work:
        outbox.append(work, "ticket", fact("k", 1))
        raise ValueError("no")


async def test_append_leaves_nothing_when_the_transaction_fails(pool: Pool) -> None:
    with pytest.raises(ValueError, match="no"):
        await append_and_fail(pool)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_append_to_another_services_topic_is_a_bug(pool: Pool) -> None:
    async with unit(pool) as work:
        with pytest.raises(Bug, match="belongs to another service; this is a bug"):
            outbox.append_raw(
                work, "ticket", topic=topics.AUDIT_OCSF, key="k", event_id="x", type_name="t", value=b"{}",
                at=NOW,
            )  # fmt: skip


async def test_a_document_of_another_owner_is_a_bug(pool: Pool) -> None:
    async with unit(pool) as work:
        with pytest.raises(Bug, match="wrote a rule"):
            await document_store.put(
                work, "ticket", ApprovalRule(id="r", name="r", accounts="*", sets="*"), at=NOW
            )
        await document_store.put(work, "ticket", RegisteredAccount(id="1"), at=NOW)


async def test_a_row_too_large_for_the_broker_is_refused_before_it_blocks_the_head(pool: Pool) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with unit(pool) as work:
            outbox.append(work, "ticket", fact("k", 1).model_copy(update={"name": "x" * 900_000}))


async def test_replay_marks_what_was_sent_since_a_moment_as_unsent(pool: Pool) -> None:
    async with unit(pool) as work:
        for hours in (-2, -1, 0):
            outbox.append(work, "ticket", fact("k", hours, at=NOW + timedelta(hours=hours)))
    await pool.execute("UPDATE outbox SET sent_at = $1", NOW)
    async with transaction(pool) as conn:
        assert await outbox.replay(conn, NOW - timedelta(hours=1)) == 2
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 2


async def test_replay_of_more_than_a_batch_marks_all_of_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "REPLAY_BATCH", 3)
    async with unit(pool) as work:
        outbox.append(work, "ticket", *(fact("k", number, at=NOW) for number in range(9)))
        await work.write_collected()
        await work.conn.execute(
            "UPDATE outbox SET sent_at = $1 WHERE id <> (SELECT min(id) FROM outbox)", NOW
        )
        assert await outbox.replay(work.conn, NOW) == 8
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 9


async def test_backlog_counts_the_unsent_and_says_how_old_the_oldest_is(pool: Pool) -> None:
    async with unit(pool) as work:
        assert await backlog(work.conn, now=NOW) == (0, timedelta(0))
        assert await head(work.conn) is None
        outbox.append(work, "ticket", fact("k", 1, at=NOW - timedelta(minutes=5)), fact("k", 2, at=NOW))
        await work.write_collected()
        assert await backlog(work.conn, now=NOW) == (2, timedelta(minutes=5))
        assert await head(work.conn) == await work.conn.fetchval("SELECT min(id) FROM outbox")
