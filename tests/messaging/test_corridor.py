"""The corridor outbox, relay, broker, consumer, inbox, outbox: what is taken away from it, and what it keeps.

The same tests run on the mock cluster and, where JIT_TEST_KAFKA names a broker, on a real one.
"""

import asyncio
import random
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import RegisteredAccount
from shared.database.pool import create_pool, transaction
from shared.foundation.clock import new_id
from shared.messaging import kafka, outbox
from shared.messaging.envelope import Received, headers_for
from tests.messaging.bus import PATIENCE_S, Corridor
from tests.support.corridor import fact, kafka_settings
from tests.support.harness import NOW
from tests.support.signing import signed_headers
from tests.support.waiting import until

ACCOUNT_FACTS = facts_of(RegisteredAccount)

pytestmark = [pytest.mark.messaging, pytest.mark.timeout(240)]


async def test_facts_go_there_and_back_once_and_in_order(road: Corridor) -> None:
    await road.start("ticket")
    await road.start("approval")
    await road.talk(keys=8, numbers=25)
    await road.settle()


async def test_two_relays_and_a_killed_lock_keep_the_order(road: Corridor) -> None:
    first = await road.start("ticket")
    second = await road.start("ticket", hears=False)
    await road.start("approval")
    talking = asyncio.create_task(road.talk(numbers=30))
    for _ in range(3):
        relays = (first.relay, second.relay)
        await until(lambda: [relay.state for relay in relays].count("active") == 1, PATIENCE_S)  # noqa: B023 (awaited here)
        await road.databases.kill_everybody()
    await talking
    await road.settle()


async def test_a_broker_that_goes_down_and_comes_back_loses_nothing(road: Corridor) -> None:
    if not road.bus.can_go_down:
        pytest.skip("this broker is somebody else's; JIT_TEST_KAFKA with Java here starts one to kill")
    await road.start("ticket")
    await road.start("approval")
    for _ in range(2):
        talking = asyncio.create_task(road.talk(numbers=5))
        await road.bus.down()
        await talking  # commands do not need the broker
        await road.talk(numbers=5)
        await road.bus.up()
    await road.settle()


async def test_a_database_that_drops_every_connection_loses_nothing(road: Corridor) -> None:
    await road.start("ticket")
    await road.start("approval")
    talking = asyncio.create_task(road.talk(numbers=40))
    for seen in (20, 80, 160):
        await until(partial(_said_or_over, road, seen, talking), PATIENCE_S)
        await road.databases.kill_everybody()
    await talking
    await road.settle()


def _said_or_over(road: Corridor, seen: int, talking: asyncio.Task[None]) -> bool:
    return talking.done() or sum(road.said.values()) >= seen


async def test_consumers_that_stop_and_start_lose_nothing(road: Corridor) -> None:
    ticket = await road.start("ticket")
    approval = await road.start("approval")
    for _ in range(2):
        talking = asyncio.create_task(road.talk(numbers=10))
        await approval.stop()
        await ticket.stop()
        approval = await road.start("approval")
        ticket = await road.start("ticket")
        await talking
    await road.settle()


async def test_everything_sent_again_has_no_second_effect(road: Corridor) -> None:
    await road.start("ticket")
    await road.start("approval")
    await road.talk(numbers=10)
    await road.settle()
    for dsn in (road.databases.ticket, road.databases.approval):
        pool = await create_pool(dsn, size=2)
        async with transaction(pool) as conn:
            assert await outbox.replay(conn, NOW - timedelta(days=36500)) > 0
        await pool.close()
    await road.talk(numbers=2)
    await road.settle()


async def test_handlers_that_fail_at_random_keep_the_order(road: Corridor) -> None:
    chance = random.Random(7)

    async def sometimes_failing(_received: Received[Any]) -> None:
        if chance.random() < 0.1:
            raise RuntimeError("not this time")

    await road.start("ticket", before=sometimes_failing)
    await road.start("approval", before=sometimes_failing)
    await road.talk(keys=4, numbers=10)
    await road.settle()


async def test_poison_between_facts_stops_nothing(road: Corridor) -> None:
    await road.start("ticket")
    await road.start("approval")
    await road.talk(keys=3, numbers=3)
    producer: AIOKafkaProducer = kafka.producer(kafka_settings(road.bus.broker), client_id="poison")
    await producer.start()
    headers = headers_for(
        event_id=new_id(),
        type_name=ACCOUNT_FACTS.changed.TYPE,
        subject="k",
        source="ticket",
        time=NOW,
    )
    good: list[tuple[str, bytes | None]] = [(name, value.encode()) for name, value in headers.items()]
    body = fact(f"{road.prefix}-forged", 1).model_dump_json().encode()
    samples: list[tuple[bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"{", [*good]),
        (None, [*good]),
        (body, []),
        (body, [*good[:-1], ("content-type", None), ("ce_subject", b"\xff")]),
        (body, [pair for pair in good if pair[0] != "ce_source"] + [("ce_source", b"approval")]),
    ]
    for partition in range(topics.TOPICS[topics.TICKET].partitions):
        for value, sent in samples:
            proven = signed_headers(sent, topic=topics.TICKET, key=b"k", value=value)
            await producer.send_and_wait(topics.TICKET, value, key=b"k", partition=partition, headers=proven)
    await producer.stop()
    await road.talk(keys=3, numbers=3)
    await road.settle()
    conn = await asyncpg.connect(road.databases.approval)
    assert await conn.fetchval("SELECT count(*) FROM dead_letter") == 5 * 12
    await conn.close()


async def test_another_member_takes_partitions_over_and_nothing_is_doubled(road: Corridor) -> None:
    if road.bus.broker.mock is not None:
        pytest.skip("the mock cluster has one member in a group")
    await road.start("ticket")
    first = await road.start("approval")
    talking = asyncio.create_task(road.talk(numbers=60))
    second = await road.start("approval")
    assert first.problem() is None
    await first.stop()
    await talking
    await road.settle()
    assert second.problem() is None
