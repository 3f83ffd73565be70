"""The consumer factory: the only place where subscribers are made, and what makes them lossless.

FastStream's defaults lose messages. Here one subscriber reads all topics of a service; a record that comes
alone waits for nobody, and what is at hand with it is handled in the same transaction (batch.py). Offsets of
processed records are committed a few times a second. What fails is tried again in place for ever, with an
alert and with a back-off of its partition alone.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from aiokafka import ConsumerRebalanceListener, ConsumerRecord
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from shared.contracts import topics
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.batch import Batches, Begin, Failure
from shared.messaging.failing import Failing
from shared.messaging.progress import COMMIT_EVERY_S, Progress
from shared.messaging.signing import Trust
from shared.messaging.subscription import Outcome, Subscription
from shared.observability.alerts import Alerts
from shared.observability.logs import logger

BATCH: Final = 128
GATHERED_BYTES: Final = 100_000
LET_GO_WITHIN_S: Final = 2.0
"""How long a rebalance waits for the batch in hand, so that its next reader need not repeat it."""
COMMIT_WITHIN_S: Final = 3.0
LEAVE_WITHIN_S: Final = 5.0

log = logger("consumer")


@dataclass
class Consumer:
    """One per service. `run` is the whole of what happens to records that came together."""

    service: str
    subscriptions: Sequence[Subscription]
    batches: Batches
    alerts: Alerts
    failing: Failing = field(init=False)
    progress: Progress = field(default_factory=Progress)
    _lingers_s: dict[str, float] = field(init=False)
    """Of each topic, beyond what the broker gathers."""
    _in_hand: Counter[str] = field(default_factory=Counter)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _broker: KafkaBroker | None = None
    _subscriber: Any = None
    _committing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._idle.set()
        gathered = self.gathers_s
        self._lingers_s = {one.topic: one.linger_s - gathered for one in self.subscriptions}
        self.failing = Failing(self.service, self.alerts, lambda: self._client)

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(subscription.topic for subscription in self.subscriptions)

    @property
    def gathers_s(self) -> float:
        """How long the broker may wait for more before it answers: as long as every record may."""
        return min((subscription.linger_s for subscription in self.subscriptions), default=0.0)

    async def start(self, settings: KafkaSettings) -> None:
        """Join the group and read. Raises what the broker raises, and leaves nothing behind then."""
        self._stopping.clear()
        broker = make_broker(self.service, settings)
        self._subscribe(broker, settings)
        try:
            await broker.start()
        except BaseException:
            await broker.stop()
            raise
        self._broker = broker
        self._committing = asyncio.create_task(self._keep_committing())

    async def stop(self, *, within_s: float) -> None:
        """Finish the batch in hand, if it does in time, commit what is processed, and leave the group.

        A batch that does not is cut: nothing of it is committed.
        """
        self._stopping.set()
        self.failing.backoff.stop()
        if self._broker is None:
            return
        await self._settle(within_s)
        if self._committing is not None:
            self._committing.cancel()
        broker, self._broker = self._broker, None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await broker.stop()

    def assigned(self) -> bool:
        """Whether this member really has partitions and reads them; a started consumer may have none."""
        client = self._client
        reading = any(not task.done() for task in getattr(self._subscriber, "tasks", ()))
        return client is not None and reading and bool(client.assignment())

    def lag(self) -> dict[str, int] | None:
        """Records not yet handled, by topic, over our partitions, those in hand and failing ones included.

        None until every partition was looked at. The client's position is already behind the records in
        hand; that of a failing one is set back to it.
        """
        client = self._client
        if client is None or not client.assignment():
            return None
        total = Counter({topic: self._in_hand[topic] for topic in self.topics})
        for partition in client.assignment():
            end, position = client.highwater(partition), _position(client, partition)
            if end is None or position is None:
                return None
            total[partition.topic] += max(0, end - position)
        return dict(total)

    def caught_up(self) -> bool:
        """Whether everything that has arrived is handled."""
        lag = self.lag() if self.topics else {}
        return lag is not None and not any(lag.values())

    async def run(self, records: Sequence[ConsumerRecord]) -> None:
        """Handle, park or hold back: a record that fails is sought back to, with its partition paused."""
        failures = await self.batches.handle(records)
        failed = {_partition(failure.record): failure.record.offset for failure in failures}
        for record in records:
            if record.offset < failed.get(_partition(record), record.offset + 1):
                self.progress.note(record)
                await self.failing.clear(record)
        for failure in failures:
            await self.failing.hold(failure)

    async def replay(self, record: ConsumerRecord) -> Outcome:
        """Handle a parked record once more, now; raises what the handler raises."""
        return await self.batches.handle_one(record)

    async def let_go(self, partitions: set[TopicPartition]) -> None:
        """Of partitions that another member may get: commit how far they are, the batch in hand too."""
        if partitions:
            await self._settle(LET_GO_WITHIN_S)
        self.progress.forget(partitions)

    @property
    def _client(self) -> Any:
        """The client under FastStream's subscriber; None before the start and after the stop."""
        return getattr(self._subscriber, "consumer", None)

    def _subscribe(self, broker: KafkaBroker, settings: KafkaSettings) -> None:
        """Register with the broker, with the settings that do not lose messages."""
        self._subscriber = broker.subscriber(
            *self.topics,
            group_id=self.service,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            # All partitions of one number at one member: a ticket's facts of all topics meet in its batches.
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=max(300, settings.session_timeout_ms // 10),
            max_poll_interval_ms=300_000,
            # Where everything may wait the broker gathers: each answer costs both of us.
            fetch_min_bytes=GATHERED_BYTES if self.gathers_s else 1,
            fetch_max_wait_ms=round(self.gathers_s * 1000) if self.gathers_s else settings.fetch_wait_ms,
            no_reply=True,
            listener=_Rebalances(self),
            parser=_tolerant_parser,
            decoder=_the_record,
        )
        self._subscriber(self._take)

    async def _take(self, first: ConsumerRecord) -> None:
        """FastStream hands over one record; what has come with it joins it.

        The batch is at work only once it is complete: taking more waits for a rebalance that is under way,
        and that must not wait for us.
        """
        self._in_hand[first.topic] += 1
        try:
            records = await self._gather(first)
            if not self._stopping.is_set():
                self._idle.clear()
                await self._surely_run(records)
        finally:
            self._in_hand.clear()
            self._idle.set()

    async def _surely_run(self, records: Sequence[ConsumerRecord]) -> None:
        """Nothing may be left out because of a bug: what it stands for is read again."""
        try:
            await self.run(records)
        except Exception as error:  # noqa: BLE001 (FastStream would go on behind these records)
            firsts = {_partition(record): record for record in reversed(records)}
            for record in firsts.values():
                await self.failing.hold(Failure(record, error))

    async def _gather(self, first: ConsumerRecord) -> list[ConsumerRecord]:
        """Lingers only where there is room for more: who is behind waits for nothing."""
        clock = asyncio.get_running_loop().time
        records, began = [first, *await self._drain(BATCH - 1)], clock()
        while len(records) < BATCH and not self._stopping.is_set():
            left = began + min(self._lingers_s[record.topic] for record in records) - clock()
            if left <= 0:
                break
            self._in_hand = Counter(record.topic for record in records)
            records += await self._drain(BATCH - len(records), within_s=left)
        self._in_hand = Counter(record.topic for record in records)
        return records

    async def _drain(self, most: int, *, within_s: float = 0.0) -> list[ConsumerRecord]:
        """What the client has fetched already, or what it fetches next within this time."""
        if (client := self._client) is None or most <= 0:
            return []
        try:
            more = await client.getmany(timeout_ms=within_s * 1000, max_records=most)
        except (KafkaError, ConsumerStoppedError) as error:  # told again to FastStream's own loop
            log.debug("nothing more at hand", service=self.service, error=type(error).__name__)
            return []
        return [record for records in more.values() for record in records]

    async def _settle(self, within_s: float) -> None:
        """The batch in hand comes to its end, and what is processed is committed; bounded."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._commit()

    async def _keep_committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._commit()

    async def _commit(self) -> None:
        """What cannot be committed now is later, or is delivered again to whoever has the partition then."""
        if (client := self._client) is None:
            return
        try:
            await self.progress.commit(client)
        except KafkaError as error:
            log.warning(
                "offsets not committed", service=self.service, error=f"{type(error).__name__}: {error}"
            )


def make_consumer(
    service: str,
    subscriptions: Sequence[Subscription],
    *,
    trust: Trust,
    clock: Clock,
    alerts: Alerts,
    begin: Begin,
) -> Consumer:
    """Raises ValueError for a topic named twice, or one this service is not a reader of (no ACL lets it)."""
    wanted = [subscription.topic for subscription in subscriptions]
    for topic in wanted:
        if wanted.count(topic) > 1:
            raise ValueError(f"{service} subscribes twice to {topic}: put its handlers into one table")
        if service not in topics.TOPICS[topic].readers:
            raise ValueError(f"{service} is not a reader of {topic}: add it to shared/contracts/topics.py")
    by_topic = {subscription.topic: subscription for subscription in subscriptions}
    batches = Batches(service, by_topic, trust=trust, begin=begin, clock=clock)
    return Consumer(service, tuple(subscriptions), batches, alerts)


def make_broker(service: str, settings: KafkaSettings) -> KafkaBroker:
    """A broker that only consumes: publishing belongs to the relay."""
    return KafkaBroker(
        list(settings.bootstrap),
        security=kafka.security(settings),
        client_id=f"jit-{service}",
        consumer_only=True,
        allow_auto_create_topics=False,
        # Its own wait for the handler comes after ours.
        graceful_timeout=0.1,
        request_timeout_ms=40_000,
        apply_types=False,
        # Given one, FastStream installs no handler of its own that prints two lines for each message.
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
    )


def _partition(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka publishes no types
    """Tells a consumer which partitions it has; what fails elsewhere is no longer its alert."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.let_go(set(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._consumer.failing.keep_only(set(assigned))


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
