"""A topic of documents holds what its owner's database holds, and a start publishes only what it lacks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import topics
from shared.contracts.documents import RegisteredAccount
from shared.database.pool import Pool
from shared.documents import document_store
from shared.foundation.errors import NotReady
from shared.messaging.outbox import MARKER_TYPE
from shared.runtime import publishing
from shared.runtime.publishing import lacking
from shared.runtime.service import Service
from tests.shared.test_tables import Owner
from tests.support.corridor import create_topics, settings_for, tiny_service
from tests.support.harness import NOW
from tests.support.servers import Broker, embedded_kafka
from tests.support.units import unit
from tests.support.waiting import until


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    with embedded_kafka() as mock:
        found = Broker(mock.bootstrap, mock)
        await create_topics(found)
        yield found


@asynccontextmanager
async def running(dsn: str, broker: Broker) -> AsyncIterator[Service]:
    """A ticket service with a table reader of its own, which waits for the other owners for ever."""
    service, _ = tiny_service("ticket", settings_for(dsn, broker), hears=None)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def written(pool: Pool, *ids: str) -> None:
    async with unit(pool) as work:
        await document_store.put(work, "ticket", *(RegisteredAccount(id=one) for one in ids), at=NOW)


async def published(pool: Pool) -> list[str]:
    """Keys of the documents that were handed to the relay, in order."""
    rows = await pool.fetch("SELECT key FROM outbox WHERE type <> $1 ORDER BY id", MARKER_TYPE)
    return [row["key"].partition("/")[2] for row in rows]


async def marked(pool: Pool) -> None:
    """Until this start has said that its topic is complete, and the broker has it."""
    await until(lambda: pool.fetchval(f"SELECT count(*) > 0 FROM outbox WHERE type = '{MARKER_TYPE}'"))
    await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL"))


async def test_a_start_publishes_everything_to_an_empty_topic_in_batches_and_then_only_what_it_lacks(
    dsn: str, broker: Broker, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "BATCH", 2)
    await written(pool, "1", "2", "3", "4", "5")
    await pool.execute("DELETE FROM outbox")
    async with running(dsn, broker):
        await marked(pool)
    assert await published(pool) == ["1", "2", "3", "4", "5"]
    assert (
        await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM outbox WHERE type <> $1", MARKER_TYPE) > 1
    )

    await pool.execute("DELETE FROM outbox")
    await written(pool, "6", "2")
    async with unit(pool) as work:
        await document_store.put(work, "ticket", RegisteredAccount(id="1").tombstone(), at=NOW)
    await pool.execute("DELETE FROM outbox")  # as if they had been lost on the way
    async with running(dsn, broker):
        await marked(pool)
    assert await published(pool) == ["6", "2", "1"]

    await pool.execute("DELETE FROM outbox")
    async with running(dsn, broker):
        await marked(pool)
    assert await published(pool) == []


async def test_republish_publishes_everything_again_and_then_a_marker(
    dsn: str, broker: Broker, pool: Pool
) -> None:
    await written(pool, "1", "2")
    async with running(dsn, broker) as service:
        await marked(pool)
        await pool.execute("DELETE FROM outbox")
        service.context.republish()
        await marked(pool)
    assert await published(pool) == ["1", "2"]


async def test_a_topic_ahead_of_a_restored_database_is_loud_and_nothing_is_published(
    dsn: str, broker: Broker, pool: Pool
) -> None:
    await written(pool, "1", "2")
    await pool.execute("DELETE FROM outbox")
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        newer = RegisteredAccount(id="2", revision=3)
        await Owner(producer).document(newer, topic=topics.CATALOG, source="ticket")
    async with running(dsn, broker) as service:
        await until(lambda: "restored database" in (service.problem() or ""))
        await until(lambda: {alert.key for alert in service.context.alerts.active} == {"documents_behind"})
        with pytest.raises(
            NotReady, match="up to revision 3, and this database, which was restored, is at 2"
        ):
            await written(pool, "4")
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0
    await pool.execute("UPDATE document_counter SET revision = revision + 1000000")
    await written(pool, "4")
    assert await published(pool) == ["4"]


async def test_a_publisher_that_is_started_again_does_not_publish_everything(
    dsn: str, broker: Broker, pool: Pool
) -> None:
    """Its task ends when the database goes away for a moment, and begins anew."""
    await written(pool, "1", "2")
    async with running(dsn, broker) as service:
        await marked(pool)
        await pool.execute("DELETE FROM outbox")
        (task,) = (one for one in service._tasks if one.get_name() == "ticket/documents")
        task.cancel()
        service._spawn("documents", service._publisher.run)
        await marked(pool)
    assert await published(pool) == []


@pytest.mark.parametrize(
    ("held", "lacks"),
    [({}, [3, 5]), ({"a/1": 2, "a/2": 5}, [3]), ({"a/1": 3, "a/2": 4}, [5]), ({"a/1": 3, "a/2": 5}, [])],
)
def test_lacking_is_what_is_missing_or_older(held: dict[str, int], lacks: list[int]) -> None:
    assert lacking({"a/1": 3, "a/2": 5}, held) == lacks
