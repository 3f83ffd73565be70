"""The compacted topics, read whole by every replica into its policy.

A plain aiokafka consumer without a group: every replica must see every record, and FastStream would try
to commit. What is unreadable or forged is left out. Whether what was read may be relied on is the policy's
to say (shared/policy/policy.py).
"""

import asyncio
import contextlib
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from shared.contracts.documents import DOCUMENTS, Document, DocumentHead, Marker, Tombstone
from shared.contracts.topics import COMPACTED, TOPICS, Topic
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.envelope import Undecodable, read_body, read_envelope, read_headers
from shared.messaging.outbox import MARKER_TYPE, document_type
from shared.messaging.signing import Trust
from shared.observability.logs import logger
from shared.policy.policy import MarkerRefused, Policy

MOST_LEFT_OUT = 100

log = logger("tables")


class Tables:
    """The reader. One per process is enough, whatever the number of services in it."""

    def __init__(self, *, policy: Policy, settings: KafkaSettings, trust: Trust) -> None:
        self.policy = policy
        self._settings = settings
        self._trust = trust
        self._behind: dict[TopicPartition, int] | None = None
        """What the first reader has still to reach; None before it looked (and where nobody reads)."""
        self._at_end = asyncio.Event()
        self._held: dict[str, dict[str, int]] = {}
        """By owner, what its topic holds; only of owners that compare it with their database."""
        self._classes = {document_type(kind): cls for kind, cls in DOCUMENTS.items()}
        self.left_out: dict[str, str] = {}
        """Records that could not be taken over, by place, with the reason; somebody must be told."""

    def remember(self, owner: str) -> None:
        """Note what that owner's topic holds: asked before the reading begins, by the owner itself."""
        self._held.setdefault(owner, {})

    async def held_by_topic(self, owner: str) -> Mapping[str, int]:
        """What it held when the first reader was at its end, and since: keys with their last revisions."""
        await self._at_end.wait()
        return self._held.get(owner, {})

    def forget(self, owner: str) -> None:
        """The note has been used."""
        self._held.pop(owner, None)

    async def run(self) -> None:
        """Read for ever; a lost broker is waited for, and what was read stays."""
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 (whatever it was: a new consumer reads everything again)
                log.warning("table reader restarts", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(1)

    async def _read(self) -> None:
        consumer = kafka.table_consumer(self._settings, client_id="jit-tables")
        try:
            await consumer.start()
            partitions = await _assign_everything(consumer)
            if self._behind is None:
                self._behind = await consumer.end_offsets(partitions)
                self.policy.catching_up = True
            while True:
                batch = await consumer.getmany(timeout_ms=1000)
                for partition, records in batch.items():
                    for record in records:
                        self._take_record(TOPICS[partition.topic], record)
                await self._catch_up(consumer)
        finally:
            with contextlib.suppress(Exception):  # else it would take the place of a cancellation
                await consumer.stop()

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """Until the first reader has been at every end it found, markers on the way there prove nothing."""
        for partition, end in list((self._behind or {}).items()):
            if await consumer.position(partition) >= end:
                del self._behind[partition]  # type: ignore[union-attr] # not None: it has this item
        self.policy.catching_up = bool(self._behind)
        if not self._behind:
            self._at_end.set()

    def _take_record(self, topic: Topic, record: ConsumerRecord) -> None:
        """Apply one record; what is unreadable or forged is left out and kept for the alert."""
        try:
            self._trust.check(record, owner=topic.owner)
            envelope = read_envelope(read_headers(record.headers))
            if envelope.source != topic.owner:
                raise Undecodable(f"ce_source is {envelope.source!r}, not the owner {topic.owner}")
            if envelope.type == MARKER_TYPE:
                self._take_marker(topic, record)
            elif cls := self._classes.get(envelope.type):
                if cls.KIND not in topic.kinds:
                    raise Undecodable(f"a {cls.KIND} is not {topic.owner}'s to publish")
                self._take_document(topic, read_document(cls, record.value))
        except (Undecodable, MarkerRefused) as error:
            log.error("table record left out", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400
            self.left_out[f"{record.topic}/{record.partition}/{record.offset}"] = str(error)
            if len(self.left_out) > MOST_LEFT_OUT:
                del self.left_out[next(iter(self.left_out))]

    def _take_document(self, topic: Topic, document: Document) -> None:
        self.policy.take(topic.owner, document)
        held = self._held.get(topic.owner)
        if held is not None:
            held[document.key] = max(document.revision, held.get(document.key, 0))

    def _take_marker(self, topic: Topic, record: ConsumerRecord) -> None:
        marker = read_body(Marker, record.value)
        if marker.owner != topic.owner:
            raise Undecodable(f"a marker of {marker.owner!r} is not {topic.owner}'s to publish")
        self.policy.note_marker(marker)


def read_document(cls: type[Document], value: bytes | None) -> Document:
    """A live document whole, a deleted one as its tombstone: of that only the head is read."""
    head = read_body(DocumentHead, value)
    return Tombstone.of_kind(cls.KIND, head) if head.deleted else read_body(cls, value)


async def _assign_everything(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    partitions = [
        TopicPartition(topic.name, index) for topic in COMPACTED for index in range(topic.partitions)
    ]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    return partitions
