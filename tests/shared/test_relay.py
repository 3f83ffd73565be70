"""The relay: everything once or more, in order, from one process, whatever is taken away from it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber
from aiokafka.structs import TopicPartition

from shared.contracts import topics
from shared.database.pool import Pool, create_pool
from shared.database.unit_of_work import unit_of_work
from shared.foundation.clock import Clock, ManualClock
from shared.messaging import kafka, outbox
from shared.messaging.relay import LOCK_KEY, Relay
from shared.observability.alerts import Alerts
from tests.support.corridor import create_topics, fact, kafka_settings, say
from tests.support.harness import NOW
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import signer
from tests.support.units import unit
from tests.support.waiting import until


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A mock cluster of one's own, with all topics."""
    with embedded_kafka() as mock:
        found = Broker(mock.bootstrap, mock)
        await create_topics(found)
        yield found


class Producers:
    """Makes the relay's producers, and fails where a test says so."""

    def __init__(self, broker: Broker) -> None:
        self._settings = kafka_settings(broker)
        self._made: list[AIOKafkaProducer] = []
        self.fail_next: Exception | None = None

    def __call__(self) -> AIOKafkaProducer:
        producer = kafka.producer(self._settings, client_id="test-relay")
        self._made.append(producer)
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            producer.send = _raising(error)
        return producer

    @property
    def made(self) -> int:
        return len(self._made)

    def assert_torn_down(self) -> None:
        """Nothing of them sends any more, and no socket is open."""
        for producer in self._made:
            task = producer._sender.sender_task
            assert task is None or task.done()
            assert not any(conn.connected() for conn in producer.client._conns.values())


def _raising(error: Exception) -> Any:
    async def send(*_args: object, **_kwargs: object) -> None:
        raise error

    return send


def make_relay(dsn: str, producers: Producers, *, clock: Clock | None = None) -> Relay:
    return Relay(signer=signer("ticket"), dsn=dsn, producer=producers, clock=clock or Clock())


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=20)
        assert not pending, "a relay does not stop"


@asynccontextmanager
async def reading(broker: Broker) -> AsyncIterator[list[tuple[str, int]]]:
    """What arrives on the ticket topic, as (key, number), duplicates too."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.servers, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    consumer.assign(
        [TopicPartition(topics.TICKET, n) for n in range(topics.TOPICS[topics.TICKET].partitions)]
    )
    arrived: list[tuple[str, int]] = []

    async def read() -> None:
        async for record in consumer:
            event = type(fact("k", 1)).model_validate_json(record.value)
            arrived.append((record.key.decode(), event.revision))

    task = asyncio.create_task(read())
    try:
        yield arrived
    finally:
        task.cancel()
        await asyncio.wait([task])
        await consumer.stop()


async def unsent(pool: Pool) -> int:
    found: int = await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
    return found


async def holder(pool: Pool) -> int | None:
    """The server process of the connection that holds the relay's lock in this database."""
    found: int | None = await pool.fetchval(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        LOCK_KEY,
    )
    return found


async def kill_holder(admin_dsn: str, pool: Pool) -> None:
    await until(lambda: holder(pool))  # the one before may just have been killed
    pid = await holder(pool)
    conn = await asyncpg.connect(admin_dsn)
    await conn.execute("SELECT pg_terminate_backend($1)", pid)
    await conn.close()


def in_order(arrived: list[tuple[str, int]]) -> dict[str, list[int]]:
    """By key, each number at its first arrival."""
    seen: dict[str, list[int]] = {}
    for key, number in arrived:
        if number not in seen.setdefault(key, []):
            seen[key].append(number)
    return seen


def expected(keys: int, numbers: int) -> dict[str, list[int]]:
    return {f"k{key}": list(range(numbers)) for key in range(keys)}


async def say_all(pool: Pool, keys: int, numbers: int) -> None:
    for number in range(numbers):
        async with unit(pool) as work:
            outbox.append(work, "ticket", *(fact(f"k{key}", number) for key in range(keys)))


async def test_rows_are_sent_in_order_and_marked_with_the_clocks_time(
    dsn: str, pool: Pool, broker: Broker
) -> None:
    await say_all(pool, 5, 60)  # more than one batch
    async with (
        reading(broker) as arrived,
        running(make_relay(dsn, Producers(broker), clock=ManualClock(NOW))),
    ):
        await until(lambda: len(arrived) >= 300)
        await until(lambda: _nothing_unsent(pool))
    assert in_order(arrived) == expected(5, 60)
    assert len(arrived) == 300
    assert await pool.fetchval("SELECT array_agg(DISTINCT sent_at) FROM outbox") == [NOW]


async def test_a_commit_wakes_the_relay_at_once(
    dsn: str, pool: Pool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = make_relay(dsn, Producers(broker))
    rested = asyncio.Event()
    rest = relay._rest

    async def without_looking_every_second(seconds: float) -> None:
        rested.set()
        await relay._wake.wait()
        await rest(seconds)

    monkeypatch.setattr(relay, "_rest", without_looking_every_second)
    async with reading(broker) as arrived, running(relay):
        await until(rested.is_set)
        await say(pool, "ticket", "k", 1)
        await until(lambda: arrived == [("k", 1)])


async def test_a_commit_of_this_process_wakes_the_relay_itself_and_its_notification_does_not(
    dsn: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = make_relay(dsn, Producers(broker))
    woken: list[str] = []
    wake = relay.wake

    def noted() -> None:
        woken.append("woken")
        wake()

    monkeypatch.setattr(relay, "wake", noted)
    own = await create_pool(dsn, size=1, backends=relay.own_backends)
    nobody = Alerts(service="ticket", clock=ManualClock(NOW), channels=[])
    async with reading(broker) as arrived, running(relay):
        await until(lambda: relay.state == "active")
        for number in range(5):
            async with unit_of_work(own, nobody, wake_relay=noted) as work:
                outbox.append(work, "ticket", fact("k", number))
        await until(lambda: len(arrived) == 5)
    assert len(woken) == 5
    assert len(relay.own_backends) == 1
    await own.close()
    assert relay.own_backends == set()


async def test_one_of_three_relays_is_active_and_another_takes_over(
    dsn: str, pool: Pool, broker: Broker
) -> None:
    relays = [make_relay(dsn, Producers(broker)) for _ in range(3)]
    tasks = {id(relay): asyncio.create_task(relay.run()) for relay in relays}
    try:
        async with reading(broker) as arrived:
            await say_all(pool, 4, 20)
            await until(lambda: len(arrived) >= 80)
            await until(lambda: sorted(relay.state for relay in relays) == ["active", "standby", "standby"])
            first = next(relay for relay in relays if relay.state == "active")
            tasks[id(first)].cancel()
            await until(lambda: first.state == "down")
            await say_all(pool, 4, 25)
            await until(lambda: len(arrived) >= 180)
            assert in_order(arrived) == expected(4, 25)
            assert [relay.state for relay in relays].count("active") == 1
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())


async def test_a_crash_between_send_and_mark_repeats_in_the_same_order(
    admin_dsn: str, dsn: str, pool: Pool, broker: Broker
) -> None:
    await say_all(pool, 3, 10)
    conn = await asyncpg.connect(admin_dsn, database=await pool.fetchval("SELECT current_database()"))
    # The mark fails after every send.
    await conn.execute("ALTER TABLE outbox ADD CONSTRAINT unmarked CHECK (sent_at IS NULL)")
    try:
        async with reading(broker) as arrived, running(make_relay(dsn, Producers(broker))):
            await until(lambda: len(arrived) >= 60)
            await conn.execute("ALTER TABLE outbox DROP CONSTRAINT unmarked")
            await until(lambda: _nothing_unsent(pool))
    finally:
        await conn.execute("ALTER TABLE outbox DROP CONSTRAINT IF EXISTS unmarked")
        await conn.close()
    assert in_order(arrived) == expected(3, 10)
    assert len(arrived) >= 60


async def test_a_killed_connection_is_replaced_and_nothing_is_lost(
    admin_dsn: str, dsn: str, pool: Pool, broker: Broker
) -> None:
    relay = make_relay(dsn, Producers(broker))
    async with reading(broker) as arrived, running(relay):
        for round_number in range(3):
            await until(lambda: relay.state == "active")
            await say(pool, "ticket", "k", 2 * round_number)
            await kill_holder(admin_dsn, pool)
            await say(pool, "ticket", "k", 2 * round_number + 1)
        await until(lambda: len(in_order(arrived).get("k", [])) == 6)
    assert in_order(arrived) == {"k": [0, 1, 2, 3, 4, 5]}


async def test_a_relay_that_lost_its_lock_does_not_wait_for_the_broker(
    admin_dsn: str, dsn: str, pool: Pool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.relay.STOP_WITHIN_S", 0.2)
    assert broker.mock is not None
    producers = Producers(broker)
    relay = make_relay(dsn, producers)
    async with reading(broker) as arrived, running(relay):
        await say(pool, "ticket", "k", 1)
        await until(lambda: arrived == [("k", 1)])
        broker.mock.set_down()
        await say(pool, "ticket", "k", 2)
        await kill_holder(admin_dsn, pool)
        await until(lambda: relay.state == "down")
        broker.mock.set_up()
        await until(lambda: in_order(arrived) == {"k": [1, 2]})
        await until(lambda: _nothing_unsent(pool))
    producers.assert_torn_down()


async def test_a_fatal_error_of_the_producer_recycles_it(dsn: str, pool: Pool, broker: Broker) -> None:
    producers = Producers(broker)
    producers.fail_next = OutOfOrderSequenceNumber()
    await say(pool, "ticket", "k", 1)
    async with reading(broker) as arrived, running(make_relay(dsn, producers)):
        await until(lambda: arrived == [("k", 1)])
    assert producers.made == 2


async def test_an_absent_broker_is_waited_for(dsn: str, pool: Pool, broker: Broker) -> None:
    assert broker.mock is not None
    broker.mock.set_down()
    producers = Producers(broker)
    await say(pool, "ticket", "k", 1)
    async with running(make_relay(dsn, producers)):
        await until(lambda: producers.made >= 2)
        assert await unsent(pool) == 1
        broker.mock.set_up()
        await until(lambda: _nothing_unsent(pool))


async def test_stop_is_bounded_although_the_broker_is_away(
    dsn: str, pool: Pool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.relay.STOP_WITHIN_S", 0.2)
    assert broker.mock is not None
    producers = Producers(broker)
    relay = make_relay(dsn, producers)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.state == "active")
    broker.mock.set_down()
    before = await pool.fetchval("SELECT clock_timestamp()")
    await say(pool, "ticket", "k", 1)
    await until(lambda: _has_looked(pool, since=before))
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()
    await until(lambda: _unheld(pool))
    assert await unsent(pool) == 1
    producers.assert_torn_down()


async def test_what_was_abandoned_half_way_through_a_batch_is_not_told_of_later(
    dsn: str, broker: Broker
) -> None:
    """The futures of what went out before the failure have nobody who waits for them."""
    loop = asyncio.get_running_loop()
    told: list[str] = []
    future = loop.create_future()
    going = [future]

    class Breaking:
        async def send(self, *_args: Any, **_named: Any) -> Any:
            if not going:
                raise KafkaError("away")
            return going.pop()

    row = {"topic": "jit.ticket.v1", "key": "k", "payload": b"{}", "headers": "{}"}
    relay: Any = make_relay(dsn, Producers(broker))
    with pytest.raises(KafkaError, match="away"):
        await relay._send([row, row], Breaking(), asyncio.Event())
    future.set_exception(KafkaError("half-way"))
    del future
    loop.set_exception_handler(lambda _loop, context: told.append(str(context.get("exception"))))
    try:
        await asyncio.sleep(0)
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert [one for one in told if "half-way" in one] == []


async def _nothing_unsent(pool: Pool) -> bool:
    return await unsent(pool) == 0


async def _unheld(pool: Pool) -> bool:
    return await holder(pool) is None


async def _has_looked(pool: Pool, *, since: datetime) -> bool:
    """Whether the relay has looked for rows since then, and so has read the one it cannot send."""
    found: bool = await pool.fetchval(
        "SELECT query_start > $2 AND state = 'idle' FROM pg_stat_activity WHERE pid = $1",
        await holder(pool),
        since,
    )
    return found
