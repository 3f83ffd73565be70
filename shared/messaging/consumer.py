"""The consumer factory: the only place where subscribers are made, and what makes them lossless.

FastStream's defaults lose messages. Here offsets are committed after the handler's transaction; what
can never be handled (not JSON, wrong shape, wrong owner, no headers) is parked in `dead_letter` with
an alert; what fails is tried again in place for ever, with an alert and with a back-off of its partition
alone, because the next event of that ticket may be its revoke. Unknown event types are counted and skipped.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from aiokafka import ConsumerRebalanceListener, ConsumerRecord
from aiokafka.structs import TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from shared.contracts import topics
from shared.contracts.event import Event
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings
from shared.messaging import inbox, kafka
from shared.messaging.backoff import Backoff
from shared.messaging.dead_letters import park
from shared.messaging.envelope import (
    Envelope,
    Received,
    Undecodable,
    event_class,
    read_body,
    read_envelope,
    read_headers,
)
from shared.observability import metrics, tracing
from shared.observability.alerts import Alerts
from shared.observability.logs import logger

Handler: TypeAlias = Callable[[UnitOfWork, Received[Any]], Awaitable[None]]
"""A command for one event type, called with the unit of work and the event. The consumer has claimed the
event in that unit and commits it, so that the effect happens once or not at all."""

Claim: TypeAlias = Callable[..., Awaitable[bool]]
"""Whether an event is handled for the first time, asked in the transaction that has the effect."""

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[UnitOfWork]]

Outcome: TypeAlias = Literal["handled", "skipped", "parked"]

log = logger("consumer")


@dataclass(frozen=True)
class Subscription:
    """One topic and what to do with its events. Types that are not in the table are skipped."""

    topic: str
    handlers: Mapping[type[Event], Handler]
    otherwise: Handler | None = None
    """For the audit log, which takes every known type."""
    claim: Claim = inbox.first_time
    """The audit log is its own inbox and replaces this."""


def make_broker(service: str, settings: KafkaSettings) -> KafkaBroker:
    """A broker that only consumes: publishing belongs to the relay."""
    return KafkaBroker(
        list(settings.bootstrap),
        security=kafka.security(settings),
        client_id=f"jit-{service}",
        consumer_only=True,
        allow_auto_create_topics=False,
        graceful_timeout=30,
        request_timeout_ms=40_000,
        apply_types=False,
        # Given one, FastStream installs no handler of its own that prints two lines for each message.
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
    )


@dataclass
class Consumer:
    """A subscription at work. `run_record` is the whole of what happens to one record."""

    service: str
    subscription: Subscription
    pool: Callable[[], Pool]
    clock: Clock
    alerts: Alerts
    begin: Begin
    backoff: Backoff = field(default_factory=Backoff)
    _failures: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _in_hand: int = 0
    _subscriber: Any = None

    @property
    def topic(self) -> str:
        return self.subscription.topic

    def subscribe(self, broker: KafkaBroker, settings: KafkaSettings) -> None:
        """Register with the broker, with the settings that do not lose messages."""
        self._subscriber = broker.subscriber(
            self.topic,
            group_id=f"{self.service}.{self.topic}",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=max(300, settings.session_timeout_ms // 10),
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            no_reply=True,
            listener=_Rebalances(self),
            parser=_tolerant_parser,
            decoder=_the_record,
        )
        self._subscriber(self.run_record)

    def assigned(self) -> bool:
        """Whether this member really has partitions and reads them; a started consumer may have none."""
        client = self._client
        reading = any(not task.done() for task in getattr(self._subscriber, "tasks", ()))
        return client is not None and reading and bool(client.assignment())

    def stop(self) -> None:
        """Try nothing again; records that failed stay where they are."""
        self.backoff.stop()

    async def keep_only(self, partitions: set[TopicPartition]) -> None:
        """Forget the waits, and of partitions that another member has now the failures and their alerts."""
        self.backoff.release(self._client, partitions)
        for place in [place for place in self._failures if TopicPartition(*place[:2]) not in partitions]:
            del self._failures[place]
            await self.alerts.clear(_alert_key(*place[:2]))

    def lag(self) -> int | None:
        """Records not yet handled, over our partitions, the one in hand and failing ones included.

        None until every partition was looked at. The client's position is already behind the record in
        hand; that of a failing one is set back to it.
        """
        client = self._client
        if client is None or not client.assignment():
            return None
        total = self._in_hand
        for partition in client.assignment():
            end, position = client.highwater(partition), _position(client, partition)
            if end is None or position is None:
                return None
            total += max(0, end - position)
        return total

    async def run_record(self, record: ConsumerRecord) -> None:
        """Handle, park or raise. A raise seeks back to the record (NACK) with its partition paused.

        The commit after any other record takes every partition's position; that is why nothing may be
        awaited between the last line here and FastStream's seek.
        """
        place = (record.topic, record.partition, record.offset)
        self._in_hand += 1
        try:
            await self._handle(record)
        except Exception as error:
            attempt = self._failures[place] = self._failures.get(place, 0) + 1
            await self._report_failure(record, attempt, error)
            self.backoff.hold(self._client, TopicPartition(*place[:2]), attempt=attempt)
            raise
        finally:
            self._in_hand -= 1
        if self._failures.pop(place, 0):
            await self.alerts.clear(_alert_key(record.topic, record.partition))

    async def replay(self, record: ConsumerRecord) -> Outcome:
        """Handle a parked record once more, now; raises what the handler raises."""
        return await self._handle(record)

    @property
    def _client(self) -> Any:
        """The client under FastStream's subscriber; None before the start and after the stop."""
        return getattr(self._subscriber, "consumer", None)

    async def _handle(self, record: ConsumerRecord) -> Outcome:
        try:
            envelope = read_envelope(read_headers(record.headers))
            self._check_owner(envelope)
            cls = event_class(envelope)
            handler = self._handler_for(cls)
            if cls is None or handler is None:
                return self._count(envelope.type if cls else "unknown", "skipped")
            event = read_body(cls, record.value)
        except Undecodable as error:
            return await self._park(record, error)
        return await self._call(handler, Received(event, envelope))

    def _handler_for(self, cls: type[Event] | None) -> Handler | None:
        return self.subscription.handlers.get(cls, self.subscription.otherwise) if cls else None

    def _check_owner(self, envelope: Envelope) -> None:
        topic = topics.TOPICS[self.topic]
        if envelope.source != topic.owner:
            raise Undecodable(
                f"ce_source is {envelope.source!r}, but {topic.name} belongs to {topic.owner}: "
                "forged or misrouted"
            )
        if event_class(envelope) and not topic.takes(envelope.type):
            raise Undecodable(
                f"{envelope.type} is not {topic.owner}'s to say on {topic.name}: forged or misrouted"
            )

    async def _call(self, handler: Handler, received: Received[Any]) -> Outcome:
        envelope = received.envelope
        started = time.perf_counter()
        with (
            bound_contextvars(service=self.service, ticket=envelope.subject, event=envelope.type),
            tracing.span(f"{self.service} {envelope.type}", carrier=envelope.carrier, kind=SpanKind.CONSUMER),
        ):
            async with self.begin() as work:
                if await self.subscription.claim(work.conn, received, now=self.clock.now()):
                    await handler(work, received)
        metrics.HANDLING.labels(self.service, envelope.type).observe(time.perf_counter() - started)
        return self._count(envelope.type, "handled")

    async def _park(self, record: ConsumerRecord, error: Undecodable) -> Outcome:
        await park(self.pool(), record, error=str(error), now=self.clock.now())
        log.error(
            "record parked",
            service=self.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=str(error),
        )
        await self.alerts.raise_alert(
            key=f"dead_letter/{record.topic}/{record.partition}/{record.offset}",
            summary=f"{self.service}: a message on {record.topic} was parked",
            detail=f"partition {record.partition}, offset {record.offset}: {error}. "
            f"See GET /v1/ops/{self.service}/dead-letters.",
            once=True,
        )
        return self._count("undecodable", "parked")

    async def _report_failure(self, record: ConsumerRecord, attempt: int, error: Exception) -> None:
        metrics.CONSUMED.labels(self.service, self.topic, "failing", "retried").inc()
        log.error(
            "handler failed, will be retried",
            service=self.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            attempt=attempt,
            exc_info=error,
        )
        if attempt >= 3:
            await self.alerts.raise_alert(
                key=_alert_key(record.topic, record.partition),
                summary=f"{self.service}: an event on {record.topic} fails and is retried",
                detail=f"partition {record.partition}, offset {record.offset}, attempt {attempt}: "
                f"{type(error).__name__}: {error}",
            )

    def _count(self, type_name: str, outcome: Outcome) -> Outcome:
        metrics.CONSUMED.labels(self.service, self.topic, type_name, outcome).inc()
        return outcome


def make_consumers(
    service: str,
    subscriptions: Sequence[Subscription],
    *,
    pool: Callable[[], Pool],
    clock: Clock,
    alerts: Alerts,
    begin: Begin,
) -> list[Consumer]:
    """One consumer per topic: FastStream silently drops all but the first of several.

    Raises ValueError for a topic named twice, or one this service is not a reader of (no ACL lets it).
    """
    wanted = [subscription.topic for subscription in subscriptions]
    for topic in wanted:
        if wanted.count(topic) > 1:
            raise ValueError(f"{service} subscribes twice to {topic}: put its handlers into one table")
        if service not in topics.TOPICS[topic].readers:
            raise ValueError(f"{service} is not a reader of {topic}: add it to shared/contracts/topics.py")
    return [Consumer(service, subscription, pool, clock, alerts, begin) for subscription in subscriptions]


def _alert_key(topic: str, partition: int) -> str:
    return f"handler/{topic}/{partition}"


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka publishes no types
    """Tells a consumer which partitions it has; what fails elsewhere is no longer its alert."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Nothing: the record at hand is finished, and inboxes serialise it with its next reader."""

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        await self._consumer.keep_only(set(assigned))


_Parser: TypeAlias = Callable[[ConsumerRecord], Awaitable[KafkaMessage]]


async def _tolerant_parser(record: ConsumerRecord, original: _Parser) -> KafkaMessage:
    """FastStream's own parser skips a record whose headers are null or not UTF-8; ours reads them later."""
    message = await original(replace(record, headers=(), value=record.value or b""))
    message.raw_message = record
    return message


async def _the_record(message: KafkaMessage) -> ConsumerRecord:
    """What the handler is called with: the record as it came, for our own reading of it."""
    return message.raw_message


def _position(consumer: Any, partition: TopicPartition) -> int | None:
    """The next offset, without the network call that `consumer.position` may make."""
    state = consumer._subscription.subscription.assignment.state_value(partition)  # noqa: SLF001 (aiokafka offers no synchronous way)
    return state.position if state is not None and state.has_valid_position else None
