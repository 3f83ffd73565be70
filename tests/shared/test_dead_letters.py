"""Parked records: listed with all that is needed to judge them, and replayed when the cause is mended."""

from datetime import timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork, unit_of_work
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import NotFound
from shared.messaging import dead_letters
from shared.messaging.consumer import Consumer, make_consumer
from shared.messaging.envelope import Received, headers_for
from shared.messaging.subscription import Subscription
from shared.observability.alerts import Alerts
from tests.support.corridor import fact
from tests.support.harness import NOW
from tests.support.signing import TRUST, signed

RULE_FACTS = facts_of(ApprovalRule)


def record(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = (), *, offset: int = 0
) -> ConsumerRecord:
    return ConsumerRecord(
        topic=topics.APPROVAL, partition=3, offset=offset, timestamp=0, timestamp_type=0, key=b"k",
        value=value, checksum=None, serialized_key_size=1, serialized_value_size=0, headers=headers,
    )  # fmt: skip


def good_record(**other: bytes) -> ConsumerRecord:
    headers = headers_for(
        event_id=new_id(),
        type_name=RULE_FACTS.changed.TYPE,
        subject="k",
        source="approval",
        time=NOW,
    )
    raw = {name: value.encode() for name, value in headers.items()} | other
    return signed(record(fact("k", 1).model_dump_json().encode(), tuple(raw.items())))


def consumer_of(pool: Pool, handler: Any) -> Consumer:
    clock = ManualClock(NOW)
    alerts = Alerts(service="ticket", clock=clock, channels=[])
    return make_consumer(
        "ticket",
        [Subscription(topics.APPROVAL, {RULE_FACTS.changed: handler})],
        trust=TRUST,
        clock=clock,
        alerts=alerts,
        begin=lambda: unit_of_work(pool, alerts),
    )


async def test_a_parked_record_comes_back_as_it_was(pool: Pool) -> None:
    original = record(b"\xff\0", (("a", b"\xff"), ("b", None), ("b", b"")))
    async with pool.acquire() as conn:
        await dead_letters.park(conn, original, error="why", now=NOW)
        (item,) = await dead_letters.page(conn, after=None, limit=10)
        found = await dead_letters.find(conn, item["id"])
    assert (found.value, found.headers, found.key) == (original.value, original.headers, original.key)
    assert (found.topic, found.partition, found.offset) == (topics.APPROVAL, 3, 0)


async def test_pages_are_newest_first_and_show_text_cut(pool: Pool) -> None:
    for offset in range(3):
        await dead_letters.park(pool, record(b"x" * 5000, offset=offset), error=f"e{offset}", now=NOW)
    async with pool.acquire() as conn:
        first = await dead_letters.page(conn, after=None, limit=2)
        second = await dead_letters.page(conn, after=first[-1]["id"], limit=2)
    assert [item["offset"] for item in first + second] == [2, 1, 0]
    assert first[0]["value"] == "x" * 2000
    assert first[0]["error"] == "e2"
    assert first[0]["replayed_at"] is None


async def test_the_same_record_parked_in_the_same_moment_is_one_letter(pool: Pool) -> None:
    for _ in range(2):
        await dead_letters.park(pool, record(b"x"), error="e", now=NOW)
    await dead_letters.park(pool, record(b"x"), error="e", now=NOW + timedelta(seconds=1))
    assert await pool.fetchval("SELECT count(*) FROM dead_letter") == 2


async def test_an_unknown_letter_is_not_found(pool: Pool) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(NotFound):
            await dead_letters.find(conn, new_id())


async def test_replay_handles_the_record(pool: Pool) -> None:
    handled: list[int] = []

    async def handler(_work: UnitOfWork, received: Received[RULE_FACTS.changed]) -> None:
        handled.append(received.event.revision)

    assert await consumer_of(pool, handler).replay(good_record()) == "handled"
    assert handled == [1]


async def test_replay_of_what_still_cannot_be_read_parks_it_anew(pool: Pool) -> None:
    async def handler(_work: UnitOfWork, _received: Received[RULE_FACTS.changed]) -> None:
        raise AssertionError("it cannot be read")

    consumer = consumer_of(pool, handler)
    assert await consumer.replay(good_record(ce_source=b"ticket")) == "parked"
    assert await pool.fetchval("SELECT count(*) FROM dead_letter") == 1


async def test_replay_that_fails_says_so_and_does_not_retry(pool: Pool) -> None:
    tried = 0

    async def handler(_work: UnitOfWork, _received: Received[RULE_FACTS.changed]) -> None:
        nonlocal tried
        tried += 1
        raise RuntimeError("still broken")

    with pytest.raises(RuntimeError, match="still broken"):
        await consumer_of(pool, handler).replay(good_record())
    assert tried == 1
