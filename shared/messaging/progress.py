"""How far the partitions are processed, committed to the broker a few times a second.

Only what was processed is committed: the client's own positions are ahead of it. What a crash leaves
uncommitted is delivered again, and inboxes drop it.
"""

from collections.abc import Collection
from typing import Any, Final

from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

COMMIT_EVERY_S: Final = 0.4


class Progress:
    """Of one consumer; `client` is aiokafka's."""

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def note(self, record: ConsumerRecord) -> None:
        """This record and all before it in its partition are processed."""
        partition = TopicPartition(record.topic, record.partition)
        self._next[partition] = max(record.offset + 1, self._next.get(partition, 0))

    async def commit(self, client: Any) -> None:
        """Raises what the client raises; what was not committed is, the next time."""
        ours = client.assignment()
        offsets = {
            partition: offset
            for partition, offset in self._next.items()
            if partition in ours and self._committed.get(partition) != offset
        }
        if offsets:
            await client.commit(offsets)
            self._committed |= offsets

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """They may be another member's from now on."""
        for partition in partitions:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)
