"""What becomes of records: handled together in one transaction, or one by one where that fails.

All of a batch commit or none. What can never be read, or never be stored, is parked with an alert; types
nobody wants are counted and skipped. What else fails is told to the caller, who tries it again for ever,
because the next event of that ticket may be its revoke.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import asyncpg
from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from shared.contracts import topics
from shared.contracts.change import Alert
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import Clock
from shared.messaging import inbox
from shared.messaging.dead_letters import park
from shared.messaging.signing import Trust
from shared.messaging.subscription import (
    Forged,
    Lock,
    NotUnderstood,
    Outcome,
    Reading,
    Skipped,
    Subscription,
    Unreadable,
    Wanted,
    read,
)
from shared.observability import metrics, tracing
from shared.observability.logs import logger

LOCKS_HELD_S: Final = 0.1
"""A transaction begins no further event after this time: others wait for the rows it has locked."""

UNSTORABLE: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
"""Values that no column takes, and rows that break a constraint: the next try would end alike."""

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[UnitOfWork]]

log = logger("consumer")


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that could not be handled this time; what stands behind it in its partition was left."""

    record: ConsumerRecord
    error: Exception


class Batches:
    """The handling of one service's records. Knows no broker."""

    def __init__(
        self,
        service: str,
        subscriptions: Mapping[str, Subscription],
        *,
        trust: Trust,
        begin: Begin,
        clock: Clock,
    ) -> None:
        self._service = service
        self._subscriptions = subscriptions
        self._trust = trust
        self._begin = begin
        self._clock = clock

    async def handle(self, records: Sequence[ConsumerRecord]) -> list[Failure]:
        """Handle records as they came from the broker; one failure at most for each partition.

        Every record before a partition's failure has been handled when this returns. Stops come first, and
        are committed before the rest begins: rows are still locked in one order in each transaction.
        """
        first = [one for one in records if self._subscriptions[one.topic].first]
        others = [one for one in records if not self._subscriptions[one.topic].first]
        return [*await self._handle(first), *await self._handle(others)]

    async def _handle(self, records: Sequence[ConsumerRecord]) -> list[Failure]:
        rest = _by_key(records)
        try:
            while rest:
                rest = rest[await self._together(rest) :]
        except Exception as error:
            if len(rest) == 1 and not isinstance(error, UNSTORABLE):
                return [Failure(rest[0], error)]
            metrics.BATCHES_BROKEN.labels(self._service).inc()
            log.warning("batch is taken one by one", service=self._service, records=len(rest), exc_info=error)
            return await self._one_by_one(rest)
        return []

    async def handle_one(self, record: ConsumerRecord) -> Outcome:
        """Once; raises what its handler raises."""
        await self._together([record])
        reading = self._read(record)
        return "handled" if isinstance(reading, Wanted) else _outcome(reading)

    async def _one_by_one(self, records: Sequence[ConsumerRecord]) -> list[Failure]:
        failures: dict[TopicPartition, Failure] = {}
        for record in sorted(records, key=lambda one: (one.topic, one.partition, one.offset)):
            partition = TopicPartition(record.topic, record.partition)
            if partition in failures:
                continue
            try:
                await self._alone(record)
            except Exception as error:  # noqa: BLE001 (whatever it is, other partitions go on)
                failures[partition] = Failure(record, error)
        return list(failures.values())

    async def _alone(self, record: ConsumerRecord) -> None:
        """It has failed with others, perhaps because of one of them; what cannot be stored now never can."""
        try:
            await self._together([record])
        except UNSTORABLE as error:
            async with self._begin() as work:
                await self._park(work, Unreadable(record, _without_content(error)))
            self._count(Unreadable(record, ""))

    async def _together(self, records: Sequence[ConsumerRecord]) -> int:
        """How many of them, from the first, one transaction has handled: all that there was time for."""
        readings = [self._read(record) for record in records]
        async with self._begin() as work:
            now = self._clock.now()
            claimable = [one for one in readings if isinstance(one, Wanted) and not one.own_inbox]
            fresh = await inbox.claim(work.conn, [one.received for one in claimable], now=now)
            await _lock(work, [one for one in claimable if inbox.identity(one.received) in fresh])
            done = await self._run(work, readings, fresh)
            left = [one.received for one in readings[done:] if isinstance(one, Wanted) and not one.own_inbox]
            await inbox.give_back(work.conn, [one for one in left if inbox.identity(one) in fresh])
        for reading in readings[:done]:
            self._count(reading)
        metrics.BATCH_SIZE.labels(self._service).observe(done)
        return done

    async def _run(self, work: UnitOfWork, readings: Sequence[Reading], fresh: set[inbox.Identity]) -> int:
        """`fresh` keeps what was not handled."""
        started = time.perf_counter()
        for done, reading in enumerate(readings, 1):
            if isinstance(reading, Unreadable):
                await self._park(work, reading)
            elif isinstance(reading, Forged):
                await self._set_aside(work, reading)
            elif isinstance(reading, Wanted):
                await self._call(work, reading, fresh)
            elif isinstance(reading, NotUnderstood):
                self._refuse(work, reading)
            if time.perf_counter() - started > LOCKS_HELD_S:
                return done
        return len(readings)

    async def _call(self, work: UnitOfWork, wanted: Wanted, fresh: set[inbox.Identity]) -> None:
        identity = inbox.identity(wanted.received)
        if not wanted.own_inbox and identity not in fresh:
            return
        envelope = wanted.received.envelope
        started = time.perf_counter()
        with (
            bound_contextvars(service=self._service, ticket=envelope.subject, event=envelope.type),
            tracing.continued(
                f"{self._service} {envelope.type}", carrier=envelope.carrier, kind=SpanKind.CONSUMER
            ),
        ):
            await wanted.handler(work, wanted.received)
        fresh.discard(identity)
        metrics.HANDLING.labels(self._service, envelope.type).observe(time.perf_counter() - started)

    async def _park(self, work: UnitOfWork, unreadable: Unreadable) -> None:
        record, error = unreadable.record, unreadable.error
        await park(work.conn, record, error=error, now=self._clock.now())
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        work.after_commit(partial(log.error, "record parked", service=self._service, error=error, **place))
        work.alert(
            Alert(
                key=f"dead_letter/{record.topic}/{record.partition}/{record.offset}",
                summary=f"{self._service}: a message on {record.topic} was parked",
                detail=f"partition {record.partition}, offset {record.offset}: {error}. "
                f"See GET /v1/ops/{self._service}/dead-letters.",
                once=True,
            )
        )

    async def _set_aside(self, work: UnitOfWork, forged: Forged) -> None:
        """One alert for all of a topic: whoever forges one record can forge thousands."""
        record, error = forged.record, forged.error
        await park(work.conn, record, error=error, now=self._clock.now(), forged=True)
        owner = topics.TOPICS[record.topic].owner
        work.alert(
            Alert(
                key=f"forged/{record.topic}",
                summary=f"{self._service}: a message on {record.topic} was not sent by {owner}",
                detail=f"partition {record.partition}, offset {record.offset}: {error}. Nothing was done "
                f"because of it. See GET /v1/ops/{self._service}/dead-letters.",
                once=True,
            )
        )

    def _refuse(self, work: UnitOfWork, refused: NotUnderstood) -> None:
        record = refused.record
        place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
        work.alert(
            Alert(
                key=f"not_understood/{refused.type}",
                summary=f"{self._service}: {refused.type} is from a newer release; no access is opened by it",
                detail=f"{place}: {refused.why}. Bring this service to the release of its sender, then have "
                "the record sent again.",
            )
        )

    def _read(self, record: ConsumerRecord) -> Reading:
        return read(record, self._subscriptions[record.topic], self._trust)

    def _count(self, reading: Reading) -> None:
        kind = reading.type if isinstance(reading, Wanted | Skipped | NotUnderstood) else "undecodable"
        metrics.CONSUMED.labels(self._service, reading.record.topic, kind, _outcome(reading)).inc()


async def _lock(work: UnitOfWork, wanted: Sequence[Wanted]) -> None:
    """What the handlers will lock, in as few calls as there are kinds of locks."""
    tickets: dict[Lock, set[str]] = {}
    for one in wanted:
        if one.lock is not None:
            tickets.setdefault(one.lock, set()).add(one.received.envelope.subject)
    for lock, ids in tickets.items():
        await lock(work, sorted(ids))


def _without_content(error: Exception) -> str:
    """What the database says of it, but for the values that it quotes."""
    place = [getattr(error, name, None) for name in ("table_name", "column_name", "constraint_name")]
    about = ", ".join(part for part in place if part)
    return f"it can never be stored: {type(error).__name__}{f' ({about})' if about else ''}"


def _outcome(reading: Reading) -> Outcome:
    if isinstance(reading, Unreadable | Forged):
        return "parked"
    if isinstance(reading, NotUnderstood):
        return "refused"
    return "skipped" if isinstance(reading, Skipped) else "handled"


def _by_key(records: Sequence[ConsumerRecord]) -> list[ConsumerRecord]:
    """Key by key, so that rows are locked in one order; a key's records of several topics as they were sent.

    Within a partition the order of offsets stays, whatever the clocks of the senders say.
    """
    sent: dict[TopicPartition, int] = {}
    ordered = []
    for record in records:
        partition = TopicPartition(record.topic, record.partition)
        sent[partition] = max(record.timestamp, sent.get(partition, 0))
        ordered.append((record.key or b"", sent[partition], record))
    return [record for *_, record in sorted(ordered, key=lambda one: one[:2])]
