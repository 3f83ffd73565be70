"""Keeps polls going beside the visits, one of each kind at most; what has ended leaves its slot.

poll_times.py says when, polling.py what is asked and saved.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.provisioner.domain.assignments import CallKind
from services.provisioner.limits import Slots
from services.provisioner.reconcile.parts import EngineParts
from services.provisioner.reconcile.poll_times import PollTimes
from services.provisioner.reconcile.polling import poll
from services.provisioner.reconcile.tasks import start
from services.provisioner.store.lease import LeaseLost
from services.provisioner.store.schedule import InFlight
from shared.observability.logs import logger

LOOKS_AGAIN_S: Final = 1.0
"""At most until it is looked whether there is anything to poll."""

log = logger("engine")


class Polls:
    """`on_end` is told after each poll, and whether slots are free since."""

    def __init__(self, parts: EngineParts, slots: Slots, on_end: Callable[[bool], None]) -> None:
        self._parts = parts
        self._slots = slots
        self._on_end = on_end
        self.times = PollTimes()
        self.tasks: dict[CallKind, asyncio.Task[None]] = {}

    def begin(self, flights: Sequence[InFlight], *, ends_wait: bool, at_once: bool) -> float:
        """Begin those that are due, or all; the seconds until one may be due again."""
        now, next_s = asyncio.get_running_loop().time(), LOOKS_AGAIN_S
        for kind in ("create", "delete"):
            ours = [flight for flight in flights if flight.op.kind == kind]
            if not ours or kind in self.tasks:
                continue
            if at_once or self._wait_s(kind, ours, now, ends_wait=ends_wait) <= 0:
                self.times.asked(kind, now)
                self.tasks[kind] = start(self._poll(kind, ours))
            next_s = min(next_s, self._wait_s(kind, ours, now, ends_wait=ends_wait))
        return next_s

    def _wait_s(self, kind: CallKind, flights: Sequence[InFlight], now: float, *, ends_wait: bool) -> float:
        oldest = min(flight.op.started for flight in flights)
        lasted_s = (self._parts.now - oldest).total_seconds()
        return self.times.wait_s(kind, now, oldest_s=lasted_s, ends_wait=ends_wait)

    async def _poll(self, kind: CallKind, flights: Sequence[InFlight]) -> None:
        over: set[int] = set()
        try:
            over = await poll(self._parts, kind, flights)
            for flight in flights:
                if flight.id in over:
                    self.times.ended(kind, (self._parts.now - flight.op.started).total_seconds())
                    self._slots.release(flight.id)
        except LeaseLost as error:
            log.warning("poll given up", reason=str(error))
        finally:
            del self.tasks[kind]
            self._on_end(bool(over))
