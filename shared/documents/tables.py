"""The compacted topics, read whole by every replica into a `World`.

A plain aiokafka consumer without a group: every replica must see every record, and FastStream would try
to commit. Ready means every owner's newest marker matches what was read; until then nothing is decided.
A marker older than the setting refuses writes, since the copy may be out of date.
"""

import asyncio
import contextlib
from datetime import timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from shared.contracts.documents import DOCUMENTS, Document, Marker
from shared.contracts.event import Revisions
from shared.contracts.topics import COMPACTED, TOPICS, Topic
from shared.documents.document_store import fingerprint
from shared.foundation.clock import EPOCH, Clock
from shared.foundation.errors import NotReady
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.envelope import Undecodable, read_body, read_envelope, read_headers
from shared.messaging.outbox import MARKER_TYPE, document_type
from shared.observability.logs import logger
from shared.policy.world import World

MOST_LEFT_OUT = 100

_CLASSES = {document_type(kind): cls for kind, cls in DOCUMENTS.items()}

log = logger("tables")


class OwnerCopy:
    """What this replica holds of one owner's documents, and the owner's newest statement about them."""

    def __init__(self) -> None:
        self.marker: Marker | None = None
        self.verified = False
        self._revisions: dict[str, int] = {}
        self._live: dict[str, int] = {}
        self._digest = 0
        self._newest = 0

    def take(self, document: Document) -> bool:
        """Count a document in if it is newer than what is known; False when it is not."""
        if document.revision <= self._revisions.get(document.key, 0):
            return False
        self._revisions[document.key] = document.revision
        self._newest = max(self._newest, document.revision)
        self._digest ^= self._live.pop(document.key, 0) ^ fingerprint(document)
        if not document.deleted:
            self._live[document.key] = fingerprint(document)
        return True

    def note(self, marker: Marker) -> None:
        """Compare the copy with its owner's statement. One from before what we know says nothing.

        Between two markers documents arrive in order and without gaps (one partition), so a copy that
        was verified stays so.
        """
        if marker.revision < self._newest or (self.marker and marker.at < self.marker.at):
            return
        self.marker = marker
        self.verified = (len(self._live), f"{self._digest:064x}") == (marker.count, marker.digest)
        self._newest = marker.revision


class Tables:
    """The reader and the copy. One per process is enough, whatever the number of services in it."""

    def __init__(
        self, *, world: World, settings: KafkaSettings, clock: Clock, stale_after: timedelta
    ) -> None:
        self.world = world
        self._settings = settings
        self._clock = clock
        self._stale_after = stale_after
        self._copies = {topic.owner: OwnerCopy() for topic in COMPACTED}
        self._changed = asyncio.Condition()
        self._behind: dict[TopicPartition, int] | None = None
        """What the first reader has still to reach; None before it looked (and where nobody reads)."""
        self.left_out: dict[str, str] = {}
        """Records that could not be taken over, by place, with the reason; somebody must be told."""
        world.ready = self.ready

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
            while True:
                batch = await consumer.getmany(timeout_ms=1000)
                await self._take_batch(batch)
                await self._catch_up(consumer)
        finally:
            with contextlib.suppress(Exception):  # else it would take the place of a cancellation
                await consumer.stop()

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """Until the first reader has been at every end it found, markers on the way there prove nothing."""
        for partition, end in list((self._behind or {}).items()):
            if await consumer.position(partition) >= end:
                del self._behind[partition]  # type: ignore[union-attr] # not None: it has this item
                self.world.ready = self.ready

    async def _take_batch(self, batch: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        if not batch:
            return
        for partition, records in batch.items():
            for record in records:
                self._take_record(TOPICS[partition.topic], record)
        async with self._changed:
            self._changed.notify_all()

    def _take_record(self, topic: Topic, record: ConsumerRecord) -> None:
        """Apply one record; what is unreadable or forged is left out and kept for the alert."""
        try:
            envelope = read_envelope(read_headers(record.headers))
            if envelope.source != topic.owner:
                raise Undecodable(f"ce_source is {envelope.source!r}, not the owner {topic.owner}")
            if envelope.type == MARKER_TYPE:
                self._take_marker(topic, record)
            elif cls := _CLASSES.get(envelope.type):
                if cls.KIND not in topic.kinds:
                    raise Undecodable(f"a {cls.KIND} is not {topic.owner}'s to publish")
                self.take(topic.owner, read_body(cls, record.value))
        except Undecodable as error:
            log.error("table record left out", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400
            self.left_out[f"{record.topic}/{record.partition}/{record.offset}"] = str(error)
            if len(self.left_out) > MOST_LEFT_OUT:
                del self.left_out[next(iter(self.left_out))]

    def _take_marker(self, topic: Topic, record: ConsumerRecord) -> None:
        marker = read_body(Marker, record.value)
        if marker.owner != topic.owner:
            raise Undecodable(f"a marker of {marker.owner!r} is not {topic.owner}'s to publish")
        self.note_marker(marker)

    def take(self, owner: str, document: Document) -> None:
        """Apply one document; older ones than known are ignored."""
        if self._copies[owner].take(document):
            self.world.apply(document)
        self._tell_world()

    def note_marker(self, marker: Marker) -> None:
        self._copies[marker.owner].note(marker)
        self.world.mark(marker)
        self._tell_world()

    def _tell_world(self) -> None:
        self.world.ready = self.ready
        # Once people are known they stay known: a stop works on what there is, however old.
        self.world.people_ready = self.world.people_ready or self._copies["provisioner"].verified

    @property
    def ready(self) -> bool:
        """Every owner's documents are completely here."""
        return not self._behind and all(copy.verified for copy in self._copies.values())

    @property
    def unready_owners(self) -> list[str]:
        return sorted(owner for owner, copy in self._copies.items() if not copy.verified)

    def age(self) -> timedelta:
        """Age of the oldest of the owners' newest markers; never fresh while one is missing."""
        markers = [copy.marker for copy in self._copies.values()]
        oldest = min((marker.at for marker in markers if marker), default=EPOCH)
        return self._clock.now() - (EPOCH if None in markers else oldest)

    def require_ready(self) -> None:
        """Raise `NotReady` unless decisions can be made: not ready means deny, never allow."""
        if not self.ready:
            raise NotReady(
                "policy and inventory are not completely read yet, waiting for "
                f"{', '.join(self.unready_owners)}; try again in a few seconds",
                code="tables_not_ready",
            )

    def require_fresh(self, *, correcting: bool = False) -> None:
        """Raise `NotReady` unless the copy is recent enough to write on.

        `correcting` is for changes of the configuration: a refused document is mended by one of them.
        """
        self.require_ready()
        if not correcting and (refused := sorted(self.world.refused)):
            raise NotReady(
                f"the policy refused {', '.join(refused)}; an administrator must correct it first",
                code="tables_refused",
            )
        if (age := self.age()) > self._stale_after:
            raise NotReady(
                f"policy and inventory are {int(age.total_seconds())} s old, more than writes may rely on; "
                "try again when the broker is back",
                code="tables_stale",
            )

    async def wait_for(self, wanted: Revisions, *, timeout_s: float = 2.0) -> None:
        """Read your own write: wait until this copy has at least these revisions, or raise `NotReady`."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: _covers(self.world.revisions, wanted))
        except TimeoutError:
            raise NotReady(
                f"revision {wanted.model_dump()} has not arrived here yet; try again",
                code="revision_not_here",
            ) from None


async def _assign_everything(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    partitions = [
        TopicPartition(topic.name, index) for topic in COMPACTED for index in range(topic.partitions)
    ]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    return partitions


def _covers(have: Revisions, wanted: Revisions) -> bool:
    return (
        have.catalog >= wanted.catalog and have.rules >= wanted.rules and have.inventory >= wanted.inventory
    )
