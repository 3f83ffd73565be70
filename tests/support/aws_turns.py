"""Calls of a lab's engine that wait for their turn with AWS, as they do at its rate limit."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.provisioner.identity_center.types import Limiter
from tests.support.provisioner_lab import Lab


class Queue:
    """The rate limit of the lab: the call after so many of one priority waits until `go` is set."""

    def __init__(self, priority: str, *, after: int = 0) -> None:
        self._priority, self._left = priority, after
        self.waiting, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, priority: str, _service: str = "") -> None:
        if priority != self._priority:
            return
        self._left -= 1
        if self._left == -1:
            self.waiting.set()
            await self.go.wait()


@dataclass
class Queued:
    """The queue, and then what the engine's calls pass anyway."""

    queue: Queue
    gate: Limiter

    async def __call__(self, priority: str, service: str) -> None:
        await self.queue(priority)
        await self.gate(priority, service)

    def check(self, *, changes: bool) -> None:
        self.gate.check(changes=changes)

    def throttled(self, service: str) -> None:
        self.gate.throttled(service)


@contextmanager
def queued(lab: Lab, priority: str, *, after: int = 0) -> Iterator[Queue]:
    calls = lab.current.identity_center._calls
    before, queue = calls._limiter, Queue(priority, after=after)
    calls._limiter = Queued(queue, before)
    try:
        yield queue
    finally:
        calls._limiter = before
