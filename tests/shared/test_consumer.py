"""The consumer factory on a broker: what is parked, skipped, tried again, and when it is committed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from faststream.kafka import KafkaBroker

from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork, unit_of_work
from shared.foundation.clock import ManualClock, new_id
from shared.messaging.consumer import Consumer, Subscription, make_broker, make_consumers
from shared.messaging.envelope import Received, headers_for
from shared.observability.alerts import Alerts
from tests.support.corridor import create_topics, fact, kafka_settings
from tests.support.harness import NOW
from tests.support.servers import Broker, embedded_kafka
from tests.support.waiting import until

RULE_FACTS = facts_of(ApprovalRule)

GROUP = f"ticket.{topics.APPROVAL}"
Headers = list[tuple[str, bytes | None]]


@dataclass
class Reader:
    """A consumer of the approval topic in the ticket service, and what its handler saw."""

    pool: Pool
    alerts: Alerts = field(
        default_factory=lambda: Alerts(service="ticket", clock=ManualClock(NOW), channels=[])
    )
    handled: list[int] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    before: Callable[[int], Awaitable[None]] | None = None
    consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        self.consumer = self.make()

    def make(self) -> Consumer:
        subscription = Subscription(topics.APPROVAL, {RULE_FACTS.changed: self._handle})
        (consumer,) = make_consumers(
            "ticket",
            [subscription],
            pool=lambda: self.pool,
            clock=ManualClock(NOW),
            alerts=self.alerts,
            begin=lambda: unit_of_work(self.pool, self.alerts),
        )
        consumer.backoff.sleep = self._pause
        return consumer

    async def _handle(self, _work: UnitOfWork, received: Received[RULE_FACTS.changed]) -> None:
        number = received.event.revision
        self.tried.append(number)
        if self.before is not None:
            await self.before(number)
        self.handled.append(number)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def parked(self) -> list[str]:
        rows = await self.pool.fetch("SELECT error FROM dead_letter ORDER BY id")
        return [row["error"] for row in rows]


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    with embedded_kafka() as mock:
        found = Broker(mock.bootstrap, mock)
        await create_topics(found)
        yield found


@asynccontextmanager
async def consuming(consumer: Consumer, broker: Broker) -> AsyncIterator[KafkaBroker]:
    settings = kafka_settings(broker)
    client = make_broker("ticket", settings)
    consumer.subscribe(client, settings)
    await client.start()
    try:
        yield client
    finally:
        consumer.stop()
        await client.stop()


@asynccontextmanager
async def sending(broker: Broker) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Puts records on one partition, so that each stands behind the one before."""
    async with AIOKafkaProducer(bootstrap_servers=broker.servers, enable_idempotence=True) as producer:

        async def send(value: bytes | None, headers: Headers, *, partition: int = 0) -> None:
            await producer.send_and_wait(
                topics.APPROVAL, value, key=b"k", partition=partition, headers=headers
            )

        yield send


def good(number: int, **other: bytes | None) -> tuple[bytes, Headers]:
    """A fact as approval would send it, with some headers replaced."""
    made = headers_for(
        event_id=new_id(),
        type_name=RULE_FACTS.changed.TYPE,
        subject="k",
        source="approval",
        time=NOW,
    )
    headers: dict[str, bytes | None] = {name: value.encode() for name, value in made.items()}
    return fact("k", number).model_dump_json().encode(), list((headers | other).items())


async def committed(broker: Broker, partition: int = 0) -> int | None:
    client = AIOKafkaConsumer(bootstrap_servers=broker.servers, group_id=GROUP, enable_auto_commit=False)
    await client.start()
    try:
        found: int | None = await client.committed(TopicPartition(topics.APPROVAL, partition))
        return found
    finally:
        await client.stop()


def poison() -> dict[str, tuple[bytes | None, Headers]]:
    body, headers = good(0)
    naked = {**fact("k", 0).model_dump(mode="json")}
    del naked["actor"]
    return {
        "not JSON": (b"{not json", headers),
        "a bad body": (json.dumps(naked).encode(), headers),
        "a null value": (None, headers),
        "no headers": (body, []),
        "a null header": good(0, ce_type=None),
        "a header that is not UTF-8": good(0, ce_subject=b"\xff\xfe"),
        "an id that is no UUID": good(0, ce_id=b"17"),
        "a time that is none": good(0, ce_time=b"yesterday"),
        "a time without its zone": good(0, ce_time=b"2026-03-02T09:00:00"),
        "another version of the envelope": good(0, ce_specversion=b"0.3"),
        "a forged source": good(0, ce_source=b"ticket"),
        "NUL in a header's name": (b"{", [*headers, ("a\0b", b"\0")]),
        "NUL in a field's name": (
            json.dumps({**naked, "actor": {"kind": "service"}, "before": {"a\0b": 1}}).encode(), headers,
        ),
        "bytes": (bytes(range(256)), headers),
    }  # fmt: skip


async def test_poison_is_parked_with_an_alert_and_the_partition_goes_on(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    samples = poison()
    async with sending(broker) as send, consuming(reader.consumer, broker):
        for value, headers in samples.values():
            await send(value, headers)
        await send(*good(1))
        await until(lambda: reader.handled == [1])
    assert len(await reader.parked()) == len(samples)
    assert len(reader.alerts.active) == len(samples)
    assert reader.pauses == []
    assert await committed(broker) == len(samples) + 1


async def test_a_forged_source_is_parked_saying_so(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0, ce_source=b"notifier"))
        await until(reader.parked)
    assert await reader.parked() == [
        "ce_source is 'notifier', but jit.approval.v1 belongs to approval: forged or misrouted"
    ]
    (alert,) = reader.alerts.active
    assert "parked" in alert.summary
    assert "/v1/ops/ticket/dead-letters" in alert.detail


async def test_unknown_and_unwanted_types_are_skipped_and_counted(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0, ce_type=b"ticket.transmogrified.v1"))
        await send(b"not even read", good(0, ce_type=b"review.voided.v1")[1])
        await send(*good(1))
        await until(lambda: reader.handled == [1])
    assert await reader.parked() == []
    assert reader.alerts.active == []


async def test_a_failing_handler_is_retried_in_order_and_never_skipped(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    fail = 12

    async def failing(number: int) -> None:
        nonlocal fail
        if number == 1 and fail:
            fail -= 1
            if fail == 8:
                (alert,) = reader.alerts.active
                assert "fails and is retried" in alert.summary
            raise RuntimeError("the database is away")

    reader.before = failing
    async with sending(broker) as send, consuming(reader.consumer, broker):
        for number in range(3):
            await send(*good(number))
        await until(lambda: reader.handled == [0, 1, 2])
    assert reader.tried == [0, *[1] * 13, 2]
    assert reader.pauses == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30], abs=1e-9
    )
    assert reader.alerts.active == []


async def test_the_pause_stays_bounded_however_often_it_failed(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    place = (topics.APPROVAL, 0, 0)
    reader.consumer._failures[place] = 5000
    reader.before = _always_failing
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0))
        await until(lambda: len(reader.pauses) >= 2)
    assert set(reader.pauses) == {30.0}


async def _always_failing(_number: int) -> None:
    raise RuntimeError("still failing")


async def test_no_alert_before_the_third_attempt(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    alerts: list[int] = []

    async def failing(_number: int) -> None:
        alerts.append(len(reader.alerts.active))
        if len(alerts) < 5:
            raise RuntimeError("not yet")

    reader.before = failing
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(1))
        await until(lambda: reader.handled == [1])
    assert alerts == [0, 0, 0, 1, 1]
    assert reader.alerts.active == []


async def test_the_offset_is_committed_after_the_handler_and_a_restart_resumes_there(
    pool: Pool, broker: Broker
) -> None:
    reader = Reader(pool)
    held = asyncio.Event()

    async def hold(number: int) -> None:
        if number == 1:
            held.set()
            await asyncio.Event().wait()

    reader.before = hold
    async with sending(broker) as send:
        settings = kafka_settings(broker)
        client = make_broker("ticket", settings)
        client.config.broker_config.graceful_timeout = 0.05
        reader.consumer.subscribe(client, settings)
        await client.start()
        for number in range(3):
            await send(*good(number))
        await until(held.is_set)
        assert await committed(broker) == 1  # the one in hand is not committed
        await client.stop()
        assert await committed(broker) == 1
        reader.before = None
        async with consuming(reader.make(), broker):
            await until(lambda: reader.handled == [0, 1, 2])
    assert reader.tried == [0, 1, 1, 2]


async def test_a_stop_does_not_wait_for_the_pause_of_a_failing_handler(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    reader.before = _always_failing
    pausing = asyncio.Event()

    async def long_pause(_seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    reader.consumer.backoff.sleep = long_pause
    async with asyncio.timeout(20), sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(1))
        await until(pausing.is_set)
    assert await committed(broker) is None


async def test_a_rebalance_ends_the_waits_and_what_stays_ours_is_tried_again(
    pool: Pool, broker: Broker
) -> None:
    reader = Reader(pool)
    reader.before = _always_failing

    async def for_ever(_seconds: float) -> None:
        await asyncio.Event().wait()

    reader.consumer.backoff.sleep = for_ever
    bad = TopicPartition(topics.APPROVAL, 0)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        client = reader.consumer._client
        await send(*good(1))
        await until(lambda: bad in client.paused())
        await reader.consumer.keep_only(client.assignment())
        await until(lambda: len(reader.tried) == 2 and bad in client.paused())
        assert reader.consumer.lag() == 1
    assert reader.consumer.backoff._waits == {}
    assert await committed(broker) is None


async def test_a_partition_that_another_member_has_takes_its_alert_with_it(pool: Pool) -> None:
    reader = Reader(pool)
    consumer = reader.consumer
    for partition in (0, 1):
        consumer._failures[topics.APPROVAL, partition, 7] = 9
        await reader.alerts.raise_alert(key=f"handler/{topics.APPROVAL}/{partition}", summary="s", detail="d")
    await consumer.keep_only({TopicPartition(topics.APPROVAL, 1)})
    assert [alert.key for alert in reader.alerts.active] == [f"handler/{topics.APPROVAL}/1"]
    assert list(consumer._failures) == [(topics.APPROVAL, 1, 7)]


async def test_assigned_knows_partitions_and_the_reading_task(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    assert not reader.consumer.assigned()
    assert reader.consumer.lag() is None
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await until(reader.consumer.assigned)
        await send(*good(1))
        await until(lambda: reader.handled == [1])
        await until(lambda: reader.consumer.lag() == 0)
        (task,) = reader.consumer._subscriber.tasks
        task.cancel()
        await until(lambda: not reader.consumer.assigned())


async def test_consumers_of_a_topic_twice_or_of_one_not_theirs_are_refused(pool: Pool) -> None:
    alerts = Alerts(service="ticket", clock=ManualClock(NOW), channels=[])

    def make(*names: str) -> Any:
        return make_consumers(
            "ticket",
            [Subscription(name, {}) for name in names],
            pool=lambda: pool,
            clock=ManualClock(NOW),
            alerts=alerts,
            begin=lambda: unit_of_work(pool, alerts),
        )

    assert len(make(topics.APPROVAL, topics.ACCESS)) == 2
    with pytest.raises(ValueError, match="subscribes twice"):
        make(topics.APPROVAL, topics.APPROVAL)
    with pytest.raises(ValueError, match=r"not a reader of jit\.notification\.v1"):
        make(topics.NOTIFICATION)
