"""Whether a reader may still meet a key: what stands on its service's topics now. For `jit keys retire`.

What is not there any more nobody can be behind with, so that neither dates nor lags have to be believed.
Of documents only the newest record of each counts: a reader goes by no other.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from shared.contracts.topics import TOPICS, Topic
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.signing import KEY_ID


@dataclass(frozen=True)
class KeyUse:
    """Of one key of one service."""

    facts: tuple[str, ...]
    """Topics on which facts are still kept that it signed."""
    documents: tuple[str, ...]
    """Topics on which a document, or the marker, stands in a state that it signed."""
    newer_key: bool
    """Whether something stands there that another key of the service signed."""


async def use_of(settings: KafkaSettings, service: str, key_id: str) -> KeyUse:
    """Reads the topics of the service from their beginning to where they end now."""
    facts: list[str] = []
    documents: list[str] = []
    others = False
    consumer = kafka.table_consumer(settings, client_id="jit-keys")
    try:
        await consumer.start()
        for topic in (one for one in TOPICS.values() if one.owner == service):
            signed_by = await _signers(consumer, topic)
            others = others or bool(signed_by - {key_id})
            if key_id in signed_by:
                (facts if topic.cleanup == "delete" else documents).append(topic.name)
    finally:
        await consumer.stop()
    return KeyUse(tuple(facts), tuple(documents), others)


async def _signers(consumer: AIOKafkaConsumer, topic: Topic) -> set[str]:
    """The ids of the keys on a topic: of all its facts, or of the newest state of each document."""
    newest: dict[bytes | None, str] = {}
    found: set[str] = set()
    async for record in _everything(consumer, topic):
        key_id = (dict(record.headers).get(KEY_ID) or b"").decode("ascii", errors="replace")
        newest[record.key] = key_id
        found.add(key_id)
    return (set(newest.values()) if topic.cleanup == "compact" else found) - {""}


async def _everything(consumer: AIOKafkaConsumer, topic: Topic) -> AsyncIterator[ConsumerRecord]:
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        batch = await consumer.getmany(timeout_ms=1000)
        for records in batch.values():
            for record in records:
                yield record
