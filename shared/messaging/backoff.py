"""Partitions that wait for the next try of a record whose handler failed, each by itself.

Called by shared/messaging/consumer.py. A waiting partition is paused: the one loop that reads a topic goes
on with the others, and what stands behind the record is not read before it. It commits nothing and moves
no position.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from aiokafka.structs import TopicPartition

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 30.0


def delay(attempt: int) -> float:
    """Seconds before the next try. The exponent is bounded too: 2 ** 1100 is no float, and a week is long."""
    return min(FIRST_DELAY_S * float(1 << min(attempt - 1, 20)), LONGEST_DELAY_S)


@dataclass
class Backoff:
    """The waits of one topic's consumer."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _waits: dict[TopicPartition, asyncio.Task[None]] = field(default_factory=dict)
    _stopped: bool = False

    def hold(self, client: Any, partition: TopicPartition, *, attempt: int) -> None:
        """Pause a partition and let it go on after the attempt's delay; `client` is aiokafka's consumer.

        One that was taken away meanwhile is not ours to pause; the next member reads from what is committed.
        """
        if client is None or partition not in client.assignment():
            return
        client.pause(partition)
        if not self._stopped:
            self._forget(partition)
            self._waits[partition] = asyncio.create_task(self._go_on(client, partition, delay(attempt)))

    def release(self, client: Any, partitions: Collection[TopicPartition]) -> None:
        """After a rebalance: nothing waits any more, and nothing that is ours stays paused.

        A new assignment starts unpaused; but its first record may have failed before we are told of it.
        """
        for partition in list(self._waits):
            self._forget(partition)
            if partition in partitions:
                _resume(client, partition)

    def stop(self) -> None:
        """Wait for nothing from now on; what is paused stays so until the client is closed."""
        self._stopped = True
        for partition in list(self._waits):
            self._forget(partition)

    def _forget(self, partition: TopicPartition) -> None:
        if wait := self._waits.pop(partition, None):
            wait.cancel()

    async def _go_on(self, client: Any, partition: TopicPartition, seconds: float) -> None:
        await self.sleep(seconds)
        self._waits.pop(partition, None)
        _resume(client, partition)


def _resume(client: Any, partition: TopicPartition) -> None:
    if client is not None and partition in client.assignment():
        client.resume(partition)
