"""Records that come together: one transaction for all, or each alone, with the same effects either way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule, RegisteredAccount
from shared.database.pool import Pool, create_pool
from shared.database.unit_of_work import UnitOfWork, unit_of_work
from shared.foundation.clock import ManualClock, new_id
from shared.messaging import batch as batches
from shared.messaging.batch import Batches, Failure
from shared.messaging.envelope import Received, headers_for
from shared.messaging.subscription import Subscription
from shared.observability.alerts import Alerts
from tests.support.corridor import effect_database, effects, fact
from tests.support.harness import NOW, empty
from tests.support.signing import TRUST, signed

SIZE = 5
FACTS = {topics.APPROVAL: facts_of(ApprovalRule).changed, topics.TICKET: facts_of(RegisteredAccount).changed}
SAID_BY = {topics.APPROVAL: "approval", topics.TICKET: "ticket"}


@pytest.fixture(scope="module")
async def effect_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with effect_database(admin_dsn, "provisioner") as dsn:
        yield dsn


@pytest.fixture
async def effect_pool(admin_dsn: str, effect_dsn: str) -> AsyncIterator[Pool]:
    await empty(admin_dsn, effect_dsn, "effect", "inbox", "dead_letter", "outbox")
    pool = await create_pool(effect_dsn, size=4)
    yield pool
    await pool.close()


@dataclass
class Reader:
    """The provisioner's reading of two topics, with a handler that notes each fact and answers it."""

    pool: Pool
    fails: Callable[[str, int], bool] = lambda _key, _number: False
    alerts: Alerts = field(
        default_factory=lambda: Alerts(service="provisioner", clock=ManualClock(NOW), channels=[])
    )
    hooks: list[tuple[str, int]] = field(default_factory=list)
    units: int = 0
    slow: Callable[[str, int], Any] | None = None
    opens: bool = False
    first: str = ""
    """The topic whose records go before the others."""
    locked: list[tuple[int, list[str]]] = field(default_factory=list)
    """Which subjects were locked in one call, and how many effects there were by then."""

    def __post_init__(self) -> None:
        lock = self._lock  # one for both topics
        subscriptions = {
            topic: Subscription(
                topic,
                {cls: self._handle},
                first=topic == self.first,
                opens=(cls,) if self.opens else (),
                lock=lock,
            )
            for topic, cls in FACTS.items()
        }
        self.batches = Batches(
            "provisioner", subscriptions, trust=TRUST, begin=self._begin, clock=ManualClock(NOW)
        )

    async def handle(self, *records: ConsumerRecord) -> list[Failure]:
        return await self.batches.handle(records)

    async def effects(self) -> list[tuple[str, int]]:
        return await effects(self.pool)

    def _begin(self) -> AbstractAsyncContextManager[UnitOfWork]:
        self.units += 1
        return unit_of_work(self.pool, self.alerts)

    async def _lock(self, work: UnitOfWork, subjects: Sequence[str]) -> None:
        there = await work.conn.fetchval("SELECT count(*) FROM effect")
        self.locked.append((there, list(subjects)))

    async def _handle(self, work: UnitOfWork, received: Received[Any]) -> None:
        key, number = received.event.subject, received.event.revision
        if self.slow is not None:
            await self.slow(key, number)
        await work.conn.execute("INSERT INTO effect (key, number) VALUES ($1, $2)", key, number)
        work.after_commit(Noted(self, key, number))
        if self.fails(key, number):
            raise RuntimeError("not this time")


@dataclass(frozen=True)
class Noted:
    """A hook that says which event it follows."""

    reader: Reader
    key: str
    number: int

    def __call__(self) -> None:
        self.reader.hooks.append((self.key, self.number))


def record(
    number: int, *, key: str = "k", topic: str = topics.APPROVAL, partition: int = 0, sent: int = 0
) -> ConsumerRecord:
    """The `number`th fact about `key`, which is its offset too."""
    headers = headers_for(
        event_id=new_id(), type_name=FACTS[topic].TYPE, subject=key, source=SAID_BY[topic], time=NOW
    )
    value = fact(key, number, service=SAID_BY[topic]).model_dump_json().encode()
    sent = ConsumerRecord(
        topic=topic,
        partition=partition,
        offset=number,
        timestamp=sent,
        timestamp_type=0,
        key=key.encode(),
        value=value,
        checksum=None,
        serialized_key_size=len(key),
        serialized_value_size=len(value),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )
    return signed(sent)


def numbers(records: Sequence[tuple[str, int]]) -> list[int]:
    return [number for _, number in records]


async def test_a_batch_is_one_transaction_and_its_hooks_follow_it(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)
    assert await reader.handle(*map(record, range(SIZE))) == []
    assert numbers(await reader.effects()) == list(range(SIZE))
    assert numbers(reader.hooks) == list(range(SIZE))
    assert reader.units == 1
    transactions = await effect_pool.fetchval("SELECT count(DISTINCT xmin::text) FROM effect")
    assert transactions == 1


async def test_what_a_batch_is_about_is_locked_once_before_its_first_event(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)
    old = record(0, key="old")
    await reader.handle(old)
    again = [old, record(1, key="b"), record(2, key="a"), record(3, key="b")]
    await reader.handle(*again, record(4, key="c", topic=topics.TICKET))
    assert reader.locked == [(0, ["old"]), (1, ["a", "b", "c"])]


@pytest.mark.parametrize("place", range(SIZE))
async def test_poison_at_any_place_is_parked_and_costs_the_others_nothing(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool)
    records = [record(number) for number in range(SIZE)]
    records[place] = signed(replace(records[place], value=b"{"))
    assert await reader.handle(*records) == []
    assert numbers(await reader.effects()) == [number for number in range(SIZE) if number != place]
    assert await effect_pool.fetchval('SELECT array_agg("offset") FROM dead_letter') == [place]
    assert [alert.key for alert in reader.alerts.active] == [f"dead_letter/{topics.APPROVAL}/0/{place}"]
    assert reader.units == 1


@pytest.mark.parametrize("place", range(SIZE))
async def test_failure_at_any_place_holds_its_partition_only_and_keeps_what_came_before_it(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool, fails=lambda key, number: (key, number) == ("bad", place))
    bad = [record(number, key="bad") for number in range(SIZE)]
    good = [record(number, key="good", partition=1) for number in range(SIZE)]
    mixed = [one for pair in zip(bad, good, strict=True) for one in pair]
    [failure] = await reader.handle(*mixed)
    assert (failure.record, str(failure.error)) == (bad[place], "not this time")
    done = sorted(await reader.effects())
    assert done == [("bad", n) for n in range(place)] + [("good", n) for n in range(SIZE)]
    assert sorted(reader.hooks) == done, "what was rolled back has no hooks"
    reader.fails = lambda _key, _number: False
    assert await reader.handle(*bad[place:]) == []
    assert sorted(await reader.effects()) == [(key, n) for key in ("bad", "good") for n in range(SIZE)]


async def test_failing_record_among_those_of_other_keys_leaves_none_before_it_out(effect_pool: Pool) -> None:
    """Handled key by key, and yet everything before the failure in its partition is done."""
    reader = Reader(effect_pool, fails=lambda key, _number: key == "a")
    records = [record(0, key="z"), record(1, key="a"), record(2, key="b"), record(3, key="z")]
    [failure] = await reader.handle(*records)
    assert failure.record == records[1]
    assert await reader.effects() == [("z", 0)]


async def test_only_record_that_fails_is_tried_once(effect_pool: Pool) -> None:
    reader = Reader(effect_pool, fails=lambda _key, _number: True)
    [failure] = await reader.handle(record(0))
    assert failure.record.offset == 0
    assert reader.units == 1


@pytest.mark.parametrize("place", range(SIZE))
async def test_repeated_record_at_any_place_has_no_second_effect(effect_pool: Pool, place: int) -> None:
    reader = Reader(effect_pool)
    records = [record(number) for number in range(SIZE)]
    again = replace(records[place], offset=SIZE)
    assert await reader.handle(*records, again) == []
    assert await reader.handle(records[place], again) == []
    assert numbers(await reader.effects()) == list(range(SIZE))


@pytest.mark.parametrize("place", range(SIZE))
async def test_record_that_came_alone_before_has_no_second_effect_in_a_batch(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool)
    records = [record(number) for number in range(SIZE)]
    assert await reader.handle(records[place]) == []
    assert await reader.handle(*records) == []
    assert sorted(numbers(await reader.effects())) == list(range(SIZE))


@pytest.mark.parametrize("place", range(SIZE))
async def test_record_that_is_late_at_any_place_is_handled_in_a_further_transaction(
    effect_pool: Pool, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are not locked for longer than that; what there is no time for is claimed anew."""
    monkeypatch.setattr(batches, "LOCKS_HELD_S", 0.02)

    async def slow(_key: str, number: int) -> None:
        await asyncio.sleep(0.03 if number == place else 0)

    reader = Reader(effect_pool, slow=slow)
    records = [record(number) for number in range(SIZE)]
    assert await reader.handle(*records) == []
    assert await reader.handle(*records) == []
    assert numbers(await reader.effects()) == list(range(SIZE))
    assert await effect_pool.fetchval("SELECT count(*) FROM inbox") == SIZE


async def test_event_that_is_repeated_behind_the_break_has_no_second_effect(
    effect_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOCKS_HELD_S", -1)  # each transaction handles one event
    reader = Reader(effect_pool)
    first, second = record(0), record(1)
    assert await reader.handle(first, replace(first, offset=2), second, replace(second, offset=3)) == []
    assert numbers(await reader.effects()) == [0, 1]


async def test_two_members_with_the_same_records_have_each_effect_once(effect_pool: Pool) -> None:
    """As after a rebalance in the middle of a batch: who had it goes on, and who has it now begins."""
    one, two = Reader(effect_pool), Reader(effect_pool)
    records = [record(number, key=f"k{number % 3}") for number in range(20)]
    both = await asyncio.gather(one.handle(*records), two.handle(*records[5:], *records[:5]))
    assert both == [[], []]
    done = await one.effects()
    assert sorted(numbers(done)) == list(range(20))
    assert len(one.hooks) + len(two.hooks) == 20


async def test_deadlock_costs_a_retry_and_nothing_else(effect_pool: Pool) -> None:
    """Two transactions that lock the same rows in other orders: the one that is ended goes on one by one."""
    met = asyncio.Barrier(2)

    @asynccontextmanager
    async def crossing(reader: Reader, first: int) -> AsyncIterator[UnitOfWork]:
        reader.units += 1
        async with unit_of_work(reader.pool, reader.alerts) as work:
            for row in (first, 1 - first) if reader.units == 1 else (0, 1):
                await work.conn.execute("SELECT pg_advisory_xact_lock($1)", row)
                if reader.units == 1 and row == first:
                    await met.wait()
            yield work

    readers = [Reader(effect_pool), Reader(effect_pool)]
    for first, reader in enumerate(readers):
        reader.batches._begin = partial(crossing, reader, first)
    sent = [[record(number, key=f"of-{who}", partition=who) for number in range(3)] for who in range(2)]
    outcomes = await asyncio.gather(readers[0].handle(*sent[0]), readers[1].handle(*sent[1]))
    assert outcomes == [[], []]
    assert sorted(reader.units for reader in readers) == [1, 4]
    assert sorted(await effects(effect_pool)) == [
        (f"of-{who}", number) for who in range(2) for number in range(3)
    ]


@pytest.mark.parametrize("place", range(SIZE))
async def test_record_that_can_never_be_stored_is_parked_and_costs_the_others_nothing(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool)
    records = [record(number) for number in range(SIZE)]
    records[place] = record(place, key="a\0secret")
    assert await reader.handle(*records) == []
    assert sorted(numbers(await reader.effects())) == [number for number in range(SIZE) if number != place]
    [parked] = await effect_pool.fetch('SELECT "offset", error FROM dead_letter')
    assert parked["offset"] == place
    assert "can never be stored" in parked["error"]
    assert "secret" not in parked["error"]
    [alert] = reader.alerts.active
    assert alert.key == f"dead_letter/{topics.APPROVAL}/0/{place}"


@pytest.mark.parametrize("place", range(SIZE))
async def test_fact_that_is_not_understood_opens_nothing_and_can_be_sent_again(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool, opens=True)
    records = [record(number) for number in range(SIZE)]
    plain = records[place]
    records[place] = signed(replace(plain, headers=(*plain.headers, ("ce_mustunderstand", b"conditions"))))
    assert await reader.handle(*records) == []
    assert numbers(await reader.effects()) == [number for number in range(SIZE) if number != place]
    [alert] = reader.alerts.active
    assert alert.key == f"not_understood/{FACTS[topics.APPROVAL].TYPE}"
    assert "conditions" in alert.detail
    assert await reader.handle(plain) == [], "a release that understands it takes it"
    assert sorted(numbers(await reader.effects())) == list(range(SIZE))


async def test_record_that_alone_can_never_be_stored_is_parked(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)
    assert await reader.handle(record(0, key="\0")) == []
    assert await effect_pool.fetchval("SELECT count(*) FROM dead_letter") == 1


async def test_database_that_is_away_fails_each_partition_at_its_first_record(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)

    @asynccontextmanager
    async def away() -> AsyncIterator[UnitOfWork]:
        raise asyncpg.PostgresConnectionError("gone")
        yield

    begin, reader.batches._begin = reader.batches._begin, away
    records = [record(number, key=f"k{number % 2}", partition=number % 2) for number in range(6)]
    failures = await reader.handle(*records)
    assert [failure.record for failure in failures] == records[:2]
    reader.batches._begin = begin
    assert await reader.handle(*records) == []
    assert sorted(numbers(await reader.effects())) == list(range(6))


async def test_a_keys_records_of_two_topics_are_handled_as_they_were_sent(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)
    said = [record(number, topic=topics.TICKET, sent=number * 10) for number in (0, 2, 4)]
    answered = [record(number, topic=topics.APPROVAL, sent=number * 10) for number in (1, 3, 5)]
    assert await reader.handle(*answered, *said) == []
    assert numbers(await reader.effects()) == [0, 1, 2, 3, 4, 5]


async def test_order_of_a_partition_stays_whatever_its_senders_clock_says(effect_pool: Pool) -> None:
    reader = Reader(effect_pool)
    records = [record(number, sent=100 - number) for number in range(SIZE)]
    assert await reader.handle(*records) == []
    assert numbers(await reader.effects()) == list(range(SIZE))


# what goes first


def of_both_topics(*, key: str = "k") -> tuple[list[ConsumerRecord], list[ConsumerRecord]]:
    """Stops and other facts about one ticket; all stops were sent last. Numbers tell them apart."""
    others = [record(number, key=key, sent=number) for number in range(SIZE)]
    stops = [record(number, key=key, topic=topics.TICKET, sent=number) for number in range(10, 10 + SIZE)]
    return stops, others


async def test_first_of_a_batch_are_handled_before_the_others_each_in_its_order(effect_pool: Pool) -> None:
    reader = Reader(effect_pool, first=topics.TICKET)
    stops, others = of_both_topics()
    mixed = [one for pair in zip(others, stops, strict=True) for one in pair]
    assert await reader.handle(*mixed) == []
    assert numbers(await reader.effects()) == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
    assert reader.units == 2


async def test_first_of_a_batch_lock_key_by_key_as_the_others_do(effect_pool: Pool) -> None:
    reader = Reader(effect_pool, first=topics.TICKET)
    stops = [record(number, key=key, topic=topics.TICKET) for number, key in enumerate("cab")]
    others = [record(number, key=key) for number, key in enumerate("bca")]
    assert await reader.handle(*others, *stops) == []
    assert [key for key, _ in await reader.effects()] == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize("place", range(SIZE))
async def test_first_of_a_batch_are_committed_though_another_partition_fails(
    effect_pool: Pool, place: int
) -> None:
    """Whichever record of the same ticket fails, the stop is in force before it is tried."""
    reader = Reader(effect_pool, first=topics.TICKET, fails=lambda _key, number: number == place)
    stops, others = of_both_topics()
    [failure] = await reader.handle(*others, *stops)
    assert failure.record == others[place]
    assert numbers(await reader.effects()) == [10, 11, 12, 13, 14, *range(place)]


async def test_first_of_a_batch_that_fails_holds_its_own_partition_only(effect_pool: Pool) -> None:
    reader = Reader(effect_pool, first=topics.TICKET, fails=lambda _key, number: number == 12)
    stops, others = of_both_topics()
    elsewhere = record(20, key="other", topic=topics.TICKET, partition=1)
    [failure] = await reader.handle(*others, *stops, elsewhere)
    assert failure.record == stops[2]
    assert sorted(numbers(await reader.effects())) == [0, 1, 2, 3, 4, 10, 11, 20]


@pytest.mark.parametrize("place", range(SIZE))
async def test_poison_among_the_others_costs_the_first_of_a_batch_nothing(
    effect_pool: Pool, place: int
) -> None:
    reader = Reader(effect_pool, first=topics.TICKET)
    stops, others = of_both_topics()
    others[place] = record(place, key="a\0b")
    assert await reader.handle(*others, *stops) == []
    assert numbers(await reader.effects())[:SIZE] == [10, 11, 12, 13, 14]
    assert await effect_pool.fetchval('SELECT array_agg("offset") FROM dead_letter') == [place]


async def test_others_are_not_begun_before_the_first_of_a_batch_are_all_committed(
    effect_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOCKS_HELD_S", -1)  # each transaction handles one event
    reader = Reader(effect_pool, first=topics.TICKET)
    stops, others = of_both_topics()
    assert await reader.handle(*others, *stops) == []
    assert numbers(await reader.effects()) == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
