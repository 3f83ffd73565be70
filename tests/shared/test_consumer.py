"""The consumer factory on a broker: what is parked, skipped, tried again, and when it is committed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.structs import TopicPartition

from shared.contracts import topics
from shared.contracts.access import AccessGranted
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork, unit_of_work
from shared.foundation.clock import ManualClock, new_id
from shared.messaging.consumer import BATCH, Consumer, make_consumer
from shared.messaging.envelope import Received, headers_for
from shared.messaging.signing import KEY_ID
from shared.messaging.subscription import Subscription
from shared.observability.alerts import Alerts
from tests.support.corridor import create_topics, fact, kafka_settings
from tests.support.harness import NOW
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import TRUST, signed_headers
from tests.support.waiting import until

RULE_FACTS = facts_of(ApprovalRule)

GROUP = "ticket"
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

    def make(self, *, linger_s: float | None = None) -> Consumer:
        """Where it lingers there is a topic besides whose records may not wait."""
        rules = {RULE_FACTS.changed: self._handle}
        subscriptions = [Subscription(topics.APPROVAL, rules, linger_s=linger_s or 0)]
        if linger_s is not None:
            subscriptions.append(Subscription(topics.ACCESS, {}))
        consumer = make_consumer(
            "ticket",
            subscriptions,
            trust=TRUST,
            clock=ManualClock(NOW),
            alerts=self.alerts,
            begin=lambda: unit_of_work(self.pool, self.alerts),
        )
        consumer.failing.backoff.sleep = self._pause
        return consumer

    async def _handle(self, work: UnitOfWork, received: Received[RULE_FACTS.changed]) -> None:
        number = received.event.revision
        self.tried.append(number)
        if self.before is not None:
            await self.before(number)
        work.after_commit(partial(self.handled.append, number))

    def hold(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Let the handler wait: when it has begun, and what lets it go on."""
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def wait(_number: int) -> None:
            begun.set()
            await go_on.wait()

        self.before = wait
        return begun, go_on

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
async def consuming(consumer: Consumer, broker: Broker) -> AsyncIterator[None]:
    await consumer.start(kafka_settings(broker))
    try:
        yield
    finally:
        await consumer.stop(within_s=5)


@asynccontextmanager
async def sending(broker: Broker) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Puts records on one partition, so that each of a topic stands behind the one before."""
    async with AIOKafkaProducer(bootstrap_servers=broker.servers, enable_idempotence=True) as producer:

        async def send(
            value: bytes | None, headers: Headers, *, partition: int = 0, topic: str = topics.APPROVAL
        ) -> None:
            await producer.send_and_wait(topic, value, key=b"k", partition=partition, headers=headers)

        yield send


async def send_together(broker: Broker, count: int, *, partitions: int = 1) -> None:
    """Numbered facts that a reader finds at hand at once."""
    async with AIOKafkaProducer(
        bootstrap_servers=broker.servers, enable_idempotence=True, linger_ms=500, max_batch_size=900_000
    ) as producer:
        sent = []
        for number in range(count):
            value, headers = good(number)
            sent.append(
                await producer.send(
                    topics.APPROVAL, value, key=b"k", partition=number % partitions, headers=headers
                )
            )
        await asyncio.gather(*sent)


def good(number: int, *, signed: bool = True, **other: bytes | None) -> tuple[bytes, Headers]:
    """A fact as approval would send it, with some headers replaced."""
    made = headers_for(
        event_id=new_id(),
        type_name=RULE_FACTS.changed.TYPE,
        subject="k",
        source="approval",
        time=NOW,
    )
    headers: dict[str, bytes | None] = {name: value.encode() for name, value in made.items()}
    value = fact("k", number).model_dump_json().encode()
    if not signed:
        return value, list((headers | other).items())
    return value, signed_headers((headers | other).items(), topic=topics.APPROVAL, key=b"k", value=value)


async def committed(broker: Broker, partition: int = 0) -> int | None:
    client = AIOKafkaConsumer(bootstrap_servers=broker.servers, group_id=GROUP, enable_auto_commit=False)
    await client.start()
    try:
        found: int | None = await client.committed(TopicPartition(topics.APPROVAL, partition))
        return found
    finally:
        await client.stop()


def by_its_owner(value: bytes | None, headers: Headers) -> tuple[bytes | None, Headers]:
    return value, signed_headers(headers, topic=topics.APPROVAL, key=b"k", value=value)


def poison() -> dict[str, tuple[bytes | None, Headers]]:
    """What its owner sent, and nobody can read."""
    body, headers = good(0, signed=False)
    naked = {**fact("k", 0).model_dump(mode="json")}
    del naked["actor"]
    return {
        "not JSON": by_its_owner(b"{not json", headers),
        "a bad body": by_its_owner(json.dumps(naked).encode(), headers),
        "a null value": by_its_owner(None, headers),
        "no headers": by_its_owner(body, []),
        "a null header": good(0, ce_type=None),
        "a header that is not UTF-8": good(0, ce_subject=b"\xff\xfe"),
        "an id that is no UUID": good(0, ce_id=b"17"),
        "a time that is none": good(0, ce_time=b"yesterday"),
        "a time without its zone": good(0, ce_time=b"2026-03-02T09:00:00"),
        "another version of the envelope": good(0, ce_specversion=b"0.3"),
        "a forged source": good(0, ce_source=b"ticket"),
        "NUL in a header's name": by_its_owner(b"{", [*headers, ("a\0b", b"\0")]),
        "NUL in a field's name": by_its_owner(
            json.dumps({**naked, "actor": {"kind": "service"}, "before": {"a\0b": 1}}).encode(), headers,
        ),
        "bytes": by_its_owner(bytes(range(256)), headers),
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


async def test_what_its_owner_did_not_sign_is_parked_under_one_alert(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    value, headers = good(0)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0, signed=False))
        await send(value.replace(b"test", b"eve!"), headers)
        await send(value, [(name, b"00" if name == KEY_ID else text) for name, text in headers])
        await send(b"anything", [("a", b"\xff")])
        await send(*good(1))
        await until(lambda: reader.handled == [1])
    assert len(await reader.parked()) == 4
    assert await pool.fetchval("SELECT bool_and(forged) FROM dead_letter")
    (alert,) = reader.alerts.active
    assert alert.summary == "ticket: a message on jit.approval.v1 was not sent by approval"
    assert "/v1/ops/ticket/dead-letters" in alert.detail


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

    async def failing(number: int) -> None:
        if number == 1 and len(reader.pauses) < 12:
            if len(reader.pauses) >= 3:
                (alert,) = reader.alerts.active
                assert "fails and is retried" in alert.summary
            raise RuntimeError("the database is away")

    reader.before = failing
    async with sending(broker) as send, consuming(reader.consumer, broker):
        for number in range(3):
            await send(*good(number))
        await until(lambda: reader.handled == [0, 1, 2])
    assert reader.pauses == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30], abs=1e-9
    )
    assert reader.alerts.active == []


async def test_the_pause_stays_bounded_however_often_it_failed(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    place = (topics.APPROVAL, 0, 0)
    reader.consumer.failing._attempts[place] = 5000
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


async def test_only_what_is_processed_is_committed_and_a_restart_resumes_there(
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
        await reader.consumer.start(kafka_settings(broker))
        await send(*good(0))
        await until(lambda: reader.handled == [0])
        for number in (1, 2):
            await send(*good(number))
        await until(held.is_set)
        await until_committed(broker, 1)  # the one in hand is not
        await reader.consumer.stop(within_s=0.05)
        assert await committed(broker) == 1
        reader.before = None
        async with consuming(reader.make(), broker):
            await until(lambda: reader.handled == [0, 1, 2])


async def until_committed(broker: Broker, offset: int) -> None:
    async def is_committed() -> bool:
        return await committed(broker) == offset

    await until(is_committed)


async def test_offsets_are_committed_soon_without_a_stop(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        for number in range(5):
            await send(*good(number))
        await until(lambda: len(reader.handled) == 5)
        await until_committed(broker, 5)


async def test_what_comes_together_is_handled_in_one_transaction(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    together: list[list[ConsumerRecord]] = []
    run = reader.consumer.run

    async def noted(records: Any) -> None:
        together.append(list(records))
        await run(records)

    reader.consumer.run = noted  # type: ignore[method-assign]
    await send_together(broker, BATCH + 10, partitions=3)
    async with consuming(reader.consumer, broker):
        await until(lambda: len(reader.handled) == BATCH + 10)
    assert max(len(batch) for batch in together) > 10
    assert all(len(batch) <= BATCH for batch in together)
    by_partition = [sorted(range(start, BATCH + 10, 3)) for start in range(3)]
    assert [[n for n in reader.handled if n % 3 == start] for start in range(3)] == by_partition


async def test_record_that_comes_alone_does_not_linger_behind_a_full_batch(
    pool: Pool, broker: Broker
) -> None:
    reader = Reader(pool)
    reader.consumer = reader.make(linger_s=3600)
    await send_together(broker, BATCH)
    async with consuming(reader.consumer, broker):
        await until(lambda: len(reader.handled) == BATCH)


async def test_records_that_come_soon_after_the_first_join_it_where_it_lingers(
    pool: Pool, broker: Broker
) -> None:
    reader = Reader(pool)
    reader.consumer = reader.make(linger_s=1)
    sizes: list[int] = []
    handle = reader.consumer.batches.handle

    async def noted(records: Any) -> Any:
        sizes.append(len(records))
        return await handle(records)

    reader.consumer.batches.handle = noted  # type: ignore[method-assign]
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await until(reader.consumer.assigned)
        for number in range(5):
            await send(*good(number))
        await until(lambda: len(reader.handled) == 5)
    assert max(sizes) > 1


async def wait_in_hand(reader: Reader, send: Callable[..., Awaitable[None]]) -> None:
    """Let a record come that may wait for an hour."""
    await until(reader.consumer.assigned)
    await send(*good(0))
    await until(lambda: reader.consumer.lag() == {topics.APPROVAL: 1, topics.ACCESS: 0})
    assert not reader.tried


async def test_a_record_that_may_not_wait_takes_those_along_that_may(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    reader.consumer = reader.make(linger_s=3600)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await wait_in_hand(reader, send)
        await send(None, [("ce_type", AccessGranted.TYPE.encode())], topic=topics.ACCESS)
        await until(lambda: reader.handled == [0])


async def test_a_stop_does_not_wait_for_what_lingers(pool: Pool, broker: Broker) -> None:
    """Nor is it lost: it was not handled, and its offset was not committed."""
    reader = Reader(pool)
    reader.consumer = reader.make(linger_s=3600)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await wait_in_hand(reader, send)
        async with asyncio.timeout(3):
            await reader.consumer.stop(within_s=5)
    assert not reader.tried
    reader.consumer = reader.make()
    async with consuming(reader.consumer, broker):
        await until(lambda: reader.handled == [0])


async def test_a_bug_behind_the_handlers_leaves_no_record_out(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    run, broken = reader.consumer.run, 2

    async def breaking(records: Any) -> None:
        nonlocal broken
        if broken:
            broken -= 1
            raise ZeroDivisionError
        await run(records)

    reader.consumer.run = breaking  # type: ignore[method-assign]
    async with sending(broker) as send, consuming(reader.consumer, broker):
        for number in range(4):
            await send(*good(number))
        await until(lambda: sorted(reader.handled) == [0, 1, 2, 3])


async def test_a_rebalance_waits_for_the_batch_in_hand_and_commits_it(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    held, go_on = reader.hold()
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0))
        await held.wait()
        letting_go = asyncio.create_task(reader.consumer.let_go({TopicPartition(topics.APPROVAL, 0)}))
        await asyncio.sleep(0.1)
        assert not letting_go.done()
        go_on.set()
        await letting_go
        assert await committed(broker) == 1


async def test_a_rebalance_does_not_wait_for_a_batch_that_hangs(
    pool: Pool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.consumer.LET_GO_WITHIN_S", 0.05)
    reader = Reader(pool)
    held, go_on = reader.hold()
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await send(*good(0))
        await held.wait()
        await reader.consumer.let_go({TopicPartition(topics.APPROVAL, 0)})
        assert await committed(broker) is None
        go_on.set()
        await until(lambda: reader.handled == [0])


async def test_a_stop_does_not_wait_for_the_pause_of_a_failing_handler(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    reader.before = _always_failing
    pausing = asyncio.Event()

    async def long_pause(_seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    reader.consumer.failing.backoff.sleep = long_pause
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

    reader.consumer.failing.backoff.sleep = for_ever
    bad = TopicPartition(topics.APPROVAL, 0)
    async with sending(broker) as send, consuming(reader.consumer, broker):
        client = reader.consumer._client
        await send(*good(1))
        await until(lambda: bad in client.paused())
        await reader.consumer.failing.keep_only(client.assignment())
        await until(lambda: len(reader.tried) == 2 and bad in client.paused())
        assert reader.consumer.lag() == {topics.APPROVAL: 1}
    assert reader.consumer.failing.backoff._waits == {}
    assert await committed(broker) is None


async def test_a_partition_that_another_member_has_takes_its_alert_with_it(pool: Pool) -> None:
    reader = Reader(pool)
    consumer = reader.consumer
    for partition in (0, 1):
        consumer.failing._attempts[topics.APPROVAL, partition, 7] = 9
        await reader.alerts.raise_alert(key=f"handler/{topics.APPROVAL}/{partition}", summary="s", detail="d")
    await consumer.failing.keep_only({TopicPartition(topics.APPROVAL, 1)})
    assert [alert.key for alert in reader.alerts.active] == [f"handler/{topics.APPROVAL}/1"]
    assert list(consumer.failing._attempts) == [(topics.APPROVAL, 1, 7)]


async def test_assigned_knows_partitions_and_the_reading_task(pool: Pool, broker: Broker) -> None:
    reader = Reader(pool)
    assert not reader.consumer.assigned()
    assert reader.consumer.lag() is None
    async with sending(broker) as send, consuming(reader.consumer, broker):
        await until(reader.consumer.assigned)
        await send(*good(1))
        await until(lambda: reader.handled == [1])
        await until(lambda: reader.consumer.lag() == {topics.APPROVAL: 0})
        assert reader.consumer.caught_up()
        (task,) = reader.consumer._subscriber.tasks
        task.cancel()
        await until(lambda: not reader.consumer.assigned())


async def test_consumers_of_a_topic_twice_or_of_one_not_theirs_are_refused(pool: Pool) -> None:
    alerts = Alerts(service="ticket", clock=ManualClock(NOW), channels=[])

    def make(*names: str) -> Any:
        return make_consumer(
            "ticket",
            [Subscription(name, {}) for name in names],
            trust=TRUST,
            clock=ManualClock(NOW),
            alerts=alerts,
            begin=lambda: unit_of_work(pool, alerts),
        )

    assert make(topics.APPROVAL, topics.ACCESS).topics == (topics.APPROVAL, topics.ACCESS)
    assert make().caught_up()
    with pytest.raises(ValueError, match="subscribes twice"):
        make(topics.APPROVAL, topics.APPROVAL)
    with pytest.raises(ValueError, match=r"not a reader of jit\.notification\.v1"):
        make(topics.NOTIFICATION)
