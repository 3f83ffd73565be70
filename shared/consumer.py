"""The consumer factory: the only place where subscribers are made, and what makes them lossless.

FastStream's defaults lose messages. Here offsets are committed after the handler's transaction; what
can never be handled (not JSON, wrong shape, wrong owner, no headers) is parked in `dead_letter` with
an alert; what fails is tried again in place for ever, with back-off and an alert, because the next
event of that ticket may be its revoke. Unknown event types are counted and skipped.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from shared import kafka, metrics, topics, tracing
from shared.alerts import Alerts
from shared.clock import Clock
from shared.contracts.event import Event
from shared.db import Pool
from shared.dead_letters import park
from shared.envelope import (
    Envelope,
    Received,
    Undecodable,
    event_class,
    read_body,
    read_envelope,
    read_headers,
)
from shared.logs import logger
from shared.settings import KafkaSettings

Handler: TypeAlias = Callable[[Received[Any]], Awaitable[None]]
"""A command for one event type. It opens its own transaction and begins with the inbox claim."""

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 30.0

log = logger("consumer")


@dataclass(frozen=True)
class Subscription:
    """One topic and what to do with its events. Types that are not in the table are skipped."""

    topic: str
    handlers: Mapping[type[Event], Handler]
    otherwise: Handler | None = None
    """For the audit log, which takes every known type."""


def make_broker(service: str, settings: KafkaSettings) -> KafkaBroker:
    """A broker that only consumes: publishing belongs to the relay."""
    return KafkaBroker(
        **kafka.connection(settings),
        client_id=f"jit-{service}",
        consumer_only=True,
        allow_auto_create_topics=False,
        graceful_timeout=30,
        request_timeout_ms=40_000,
        apply_types=False,
    )


@dataclass
class Consumer:
    """A subscription at work. `run_record` is the whole of what happens to one record."""

    service: str
    subscription: Subscription
    pool: Callable[[], Pool]
    clock: Clock
    alerts: Alerts
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _failures: dict[tuple[str, int, int], int] = field(default_factory=dict)
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
            parser=_tolerant_parser,
            decoder=_leave_undecoded,
        )
        self._subscriber(self._on_message)

    def assigned(self) -> bool:
        """Whether this member really has partitions; a started consumer may have none."""
        consumer = getattr(self._subscriber, "consumer", None)
        return consumer is not None and bool(consumer.assignment())

    def lag(self) -> int | None:
        """Records between our position and the end, over our partitions; None before the first fetch."""
        consumer = getattr(self._subscriber, "consumer", None)
        if consumer is None or not consumer.assignment():
            return None
        total = 0
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            position = _position(consumer, partition)
            if end is not None and position is not None:
                total += max(0, end - position)
        return total

    async def _on_message(self, message: KafkaMessage) -> None:
        record: ConsumerRecord = message.raw_message
        await self.run_record(record)

    async def run_record(self, record: ConsumerRecord) -> None:
        """Handle, park or raise. A raise seeks back to the record (NACK), after a pause."""
        place = (record.topic, record.partition, record.offset)
        try:
            await self._handle(record)
        except Exception as error:
            attempt = self._failures[place] = self._failures.get(place, 0) + 1
            await self._make_noise(record, attempt, error)
            await self.sleep(min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S))
            raise
        if self._failures.pop(place, 0):
            await self.alerts.clear(self._alert_key(record))

    async def _handle(self, record: ConsumerRecord) -> None:
        try:
            envelope = read_envelope(read_headers(record.headers))
            self._check_owner(envelope)
            cls = event_class(envelope)
            handler = self._handler_for(cls)
            if cls is None or handler is None:
                self._count(envelope.type if cls else "unknown", "skipped")
                return
            event = read_body(cls, record.value)
        except Undecodable as error:
            await self._park(record, error)
            return
        await self._call(handler, Received(event, envelope))

    def _handler_for(self, cls: type[Event] | None) -> Handler | None:
        return self.subscription.handlers.get(cls, self.subscription.otherwise) if cls else None

    def _check_owner(self, envelope: Envelope) -> None:
        owner = topics.TOPICS[self.topic].owner
        if envelope.source != owner:
            raise Undecodable(
                f"ce_source is {envelope.source!r}, but {self.topic} belongs to {owner}: forged or misrouted"
            )

    async def _call(self, handler: Handler, received: Received[Any]) -> None:
        envelope = received.envelope
        started = time.perf_counter()
        with (
            bound_contextvars(service=self.service, ticket=envelope.subject, event=envelope.type),
            tracing.span(f"{self.service} {envelope.type}", carrier=envelope.carrier, kind=SpanKind.CONSUMER),
        ):
            await handler(received)
        metrics.HANDLING.labels(self.service, envelope.type).observe(time.perf_counter() - started)
        self._count(envelope.type, "handled")

    async def _park(self, record: ConsumerRecord, error: Undecodable) -> None:
        await park(self.pool(), record, error=str(error), now=self.clock.now())
        self._count("undecodable", "parked")
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

    async def _make_noise(self, record: ConsumerRecord, attempt: int, error: Exception) -> None:
        self._count("failing", "retried")
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
                key=self._alert_key(record),
                summary=f"{self.service}: an event on {record.topic} fails and is retried",
                detail=f"partition {record.partition}, offset {record.offset}, attempt {attempt}: "
                f"{type(error).__name__}: {error}",
            )

    def _alert_key(self, record: ConsumerRecord) -> str:
        return f"handler/{record.topic}/{record.partition}"

    def _count(self, type_name: str, outcome: str) -> None:
        metrics.CONSUMED.labels(self.service, self.topic, type_name, outcome).inc()


def make_consumers(
    service: str,
    subscriptions: Sequence[Subscription],
    *,
    pool: Callable[[], Pool],
    clock: Clock,
    alerts: Alerts,
) -> list[Consumer]:
    """One consumer per topic: FastStream silently drops all but the first of several."""
    return [Consumer(service, subscription, pool, clock, alerts) for subscription in subscriptions]


_Parser: TypeAlias = Callable[[ConsumerRecord], Awaitable[KafkaMessage]]


async def _tolerant_parser(record: ConsumerRecord, original: _Parser) -> KafkaMessage:
    """FastStream's own parser skips a record whose headers are null or not UTF-8; ours reads them later."""
    message = await original(replace(record, headers=(), value=record.value or b""))
    message.raw_message = record
    return message


async def _leave_undecoded(message: KafkaMessage) -> bytes:
    return message.body if isinstance(message.body, bytes) else b""


def _position(consumer: Any, partition: TopicPartition) -> int | None:
    """The next offset, without the network call that `consumer.position` may make."""
    state = consumer._subscription.subscription.assignment.state_value(partition)  # noqa: SLF001 (aiokafka offers no synchronous way)
    return state.position if state is not None and state.has_valid_position else None
