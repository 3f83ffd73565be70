"""Records whose handler fails: tried again in place for ever, each partition by itself, and loudly."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

from shared.messaging.backoff import Backoff
from shared.messaging.batch import Failure
from shared.observability import metrics
from shared.observability.alerts import Alerts
from shared.observability.logs import logger

ALERT_FROM: Final = 3
"""The attempt from which on somebody is told."""

log = logger("consumer")


@dataclass
class Failing:
    """Of one service's consumer; `client` gives aiokafka's, or None before the start and after the stop."""

    service: str
    alerts: Alerts
    client: Callable[[], Any]
    backoff: Backoff = field(default_factory=Backoff)
    _attempts: dict[tuple[str, int, int], int] = field(default_factory=dict)

    async def hold(self, failure: Failure) -> None:
        """Seek back to the record and pause its partition until the next try."""
        record = failure.record
        place = (record.topic, record.partition, record.offset)
        attempt = self._attempts[place] = self._attempts.get(place, 0) + 1
        client, partition = self.client(), TopicPartition(record.topic, record.partition)
        if client is not None and partition in client.assignment():
            client.seek(partition, record.offset)
            self.backoff.hold(client, partition, attempt=attempt)
        await self._report(failure, attempt)

    async def clear(self, record: ConsumerRecord) -> None:
        """It was handled, by itself or with others: what was said of its failures is over."""
        if self._attempts.pop((record.topic, record.partition, record.offset), 0):
            await self.alerts.clear(_alert_key(record.topic, record.partition))

    async def keep_only(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the waits, and of partitions that another member has now the failures and their alerts."""
        self.backoff.release(self.client(), partitions)
        for place in [place for place in self._attempts if TopicPartition(*place[:2]) not in partitions]:
            del self._attempts[place]
            await self.alerts.clear(_alert_key(*place[:2]))

    async def _report(self, failure: Failure, attempt: int) -> None:
        record, error = failure.record, failure.error
        metrics.CONSUMED.labels(self.service, record.topic, "failing", "retried").inc()
        log.error(
            "handler failed, will be retried",
            service=self.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            attempt=attempt,
            exc_info=error,
        )
        if attempt >= ALERT_FROM:
            await self.alerts.raise_alert(
                key=_alert_key(record.topic, record.partition),
                summary=f"{self.service}: an event on {record.topic} fails and is retried",
                detail=f"partition {record.partition}, offset {record.offset}, attempt {attempt}: "
                f"{type(error).__name__}: {error}",
            )


def _alert_key(topic: str, partition: int) -> str:
    return f"handler/{topic}/{partition}"
