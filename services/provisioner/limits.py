"""AWS's limits, kept by us: calls per second in the order of their priority, slots, one operation an account.

In one process, which suffices because only one engine is active. Nothing here calls AWS or knows claims.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, get_args

from prometheus_client import Counter, Gauge

from services.provisioner.domain.assignments import CallKind
from services.provisioner.driver import Priority

PRIORITIES: Final = get_args(Priority)
"""Who waits for whom, the most urgent first."""

ONE_EVENT_S: Final = 1.0
"""Throttles within so long are one event: AWS tells all calls of a moment that they are too many."""
RECOVERS_IN_S: Final = 30.0
"""From nothing to the whole rate; a rate that was halved once is whole after half of it."""
STUCK_AFTER: Final = timedelta(seconds=30)
"""An operation that runs longer holds up no deletion; most take seconds."""
_SLOWEST = 1.0
_SLOTS_IN_USE = Gauge("jit_aws_slots_in_use", "Asynchronous operations of ours outstanding", ["kind"])
_SLOWED = Counter("jit_aws_slowed_total", "Times our rate was halved because AWS throttled")


class TokenBucket:
    """Lets `rate` calls per second through, the most urgent first; None is no limit.

    Holds a second's worth at most. Others share AWS's quota, so a throttle halves the rate, once for each
    event, and what was saved up is gone; the rate then grows evenly until it is whole again.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._tokens = rate or 0.0
        self._filled_at = monotonic()
        self._slowed_at: float | None = None
        self._slow_rate = rate or 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._pump: asyncio.Task[None] | None = None

    @property
    def rate(self) -> float | None:
        """Calls per second at this moment."""
        if self._rate is None or self._slowed_at is None:
            return self._rate
        regained = (self._monotonic() - self._slowed_at) * self._rate / RECOVERS_IN_S
        return min(self._rate, self._slow_rate + regained)

    async def take(self, priority: str) -> None:
        """Wait for a turn. KeyError for a priority that is not in the list would be a bug."""
        if self._rate is None:
            return
        if not self._waiting and self._take_token():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (PRIORITIES.index(priority), next(self._order), turn))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._serve())
        await turn

    def slow_down(self) -> None:
        """AWS said we are too fast: half the present rate from now on, unless this moment has cost that."""
        now = self._monotonic()
        if self._rate is None or (self._slowed_at is not None and now - self._slowed_at < ONE_EVENT_S):
            return
        self._slow_rate = max(_SLOWEST, (self.rate or _SLOWEST) / 2)
        self._slowed_at = now
        self._tokens, self._filled_at = 0.0, now
        _SLOWED.inc()

    async def _serve(self) -> None:
        """Hand out turns until nobody waits. One at a time, so that who comes late can still be first."""
        while self._waiting:
            while not self._take_token():
                await self._sleep((1 - self._tokens) / (self.rate or _SLOWEST))
            while self._waiting:
                _, _, turn = heapq.heappop(self._waiting)
                if not turn.done():
                    turn.set_result(None)
                    break
            else:
                self._tokens += 1  # everybody who waited has been cancelled

    def _take_token(self) -> bool:
        rate = self.rate or _SLOWEST
        now = self._monotonic()
        self._tokens = min(max(1.0, rate), self._tokens + max(0.0, now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1 - 1e-6:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one operation on an account."""

    account_id: str
    set_id: str
    kind: CallKind
    since: datetime
    firm: bool = False
    """Kept for a creation that has waited too long: deletions leave it alone while it is only reserved."""


@dataclass
class Slots:
    """Who may have an operation outstanding: so many in all, fewer for creations, one per account.

    A slot is reserved before the visit that may need it, taken right before the call, and kept until the
    operation has ended. Deletions take no notice of what creations have only reserved: a visit that waits
    for AWS's answers before it can create holds no deletion up. Nor do operations that are stuck: whatever
    AWS does not finish, a deletion is sent beside it, to be queued or refused there.
    """

    total: int
    for_grants: int
    _reserved: dict[int, Slot] = field(default_factory=dict)
    _taken: dict[int, Slot] = field(default_factory=dict)
    _changes: int = 0
    _changed: dict[int, int] = field(default_factory=dict)
    """By assignment, the number of the last change to what it has taken."""

    def reserve(self, assignment_id: int, wanted: Slot) -> bool:
        """False when there is no room for it now."""
        if not self._room(wanted, [*self._taken.values(), *self._in_the_way(wanted.kind)]):
            return False
        self._reserved[assignment_id] = wanted
        return True

    def take(self, assignment_id: int, *, now: datetime) -> bool:
        """Make a reservation good; False where there is none, or where deletions were faster."""
        mine = self._reserved.get(assignment_id)
        if mine is None or not self._room(mine, self._taken.values()):
            return False
        self._taken[assignment_id] = replace(self._reserved.pop(assignment_id), since=now)
        self._note_change(assignment_id)
        return True

    def release(self, assignment_id: int) -> None:
        self._reserved.pop(assignment_id, None)
        if self._taken.pop(assignment_id, None) is not None:
            self._note_change(assignment_id)

    @property
    def creating(self) -> bool:
        """Whether any creation has a slot, or is about to."""
        return any(slot.kind == "create" for slot in [*self._taken.values(), *self._reserved.values()])

    def works_on(self, account_id: str, set_id: str) -> bool:
        """Whether something is done, or about to be, to who holds the set on the account."""
        slots = [*self._taken.values(), *self._reserved.values()]
        return any((slot.account_id, slot.set_id) == (account_id, set_id) for slot in slots)

    def works_in(self, account_id: str) -> bool:
        """Whether an operation is outstanding there."""
        return any(slot.account_id == account_id for slot in self._taken.values())

    def snapshot(self) -> int:
        """To be asked before what is stored is read; `correct` takes it."""
        self._changed = {key: number for key, number in self._changed.items() if key in self._taken}
        return self._changes

    def correct(self, in_flight: Mapping[int, Slot], *, visiting: Collection[int], as_of: int) -> None:
        """Agree with what was stored at the snapshot, after a start, a takeover or a crash in between.

        What was taken or released since is known better here; so is what was being visited then (`visiting`),
        since its commit may have come too late to be read.
        """
        self._reserved = {key: slot for key, slot in self._reserved.items() if key in visiting}
        for key in {*self._taken, *in_flight}:
            if self._changed.get(key, 0) > as_of or key in visiting:
                continue
            if key in in_flight:
                self._taken[key] = in_flight[key]
            else:
                del self._taken[key]
        self._measure()

    def _in_the_way(self, kind: CallKind) -> list[Slot]:
        """What is only reserved and yet counts."""
        return [
            slot for slot in self._reserved.values() if kind == "create" or slot.kind == "delete" or slot.firm
        ]

    def _room(self, mine: Slot, others: Iterable[Slot]) -> bool:
        """`others` of a deletion are those that AWS can be expected to finish."""
        if mine.kind == "delete":
            others = [slot for slot in others if mine.since - slot.since < STUCK_AFTER]
        others = list(others)
        if any(slot.account_id == mine.account_id for slot in others):
            return False
        creating = sum(slot.kind == "create" for slot in others)
        return len(others) < self.total and (mine.kind == "delete" or creating < self.for_grants)

    def _note_change(self, assignment_id: int) -> None:
        self._changes += 1
        self._changed[assignment_id] = self._changes
        self._measure()

    def _measure(self) -> None:
        kinds: tuple[CallKind, ...] = ("create", "delete")
        for kind in kinds:
            _SLOTS_IN_USE.labels(kind).set(sum(slot.kind == kind for slot in self._taken.values()))


@dataclass
class Gate:
    """What every call to AWS passes: its turn by priority, and the lease right before it is sent.

    A bucket for each of AWS's services: a reading of the organisation must not slow revokes down.
    """

    buckets: Mapping[str, TokenBucket]
    """By service, as the SDK names it."""
    check: Callable[..., None]
    """The lease's."""

    async def __call__(self, priority: str, service: str) -> None:
        await self.buckets[service].take(priority)

    def throttled(self, service: str) -> None:
        """AWS says that calls to this service are too many."""
        self.buckets[service].slow_down()
