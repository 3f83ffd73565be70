"""AWS's limits, kept by us: calls per second in the order of their priority, slots, one operation an account.

In one process, which suffices because only one engine is active. Nothing here calls AWS or knows claims.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, get_args

from prometheus_client import Counter, Gauge

from services.provisioner.domain.assignments import CallKind
from services.provisioner.driver import Priority

PRIORITIES: Final = get_args(Priority)
"""Who waits for whom, the most urgent first."""

SLOWER_FOR_S: Final = 30.0
_SLOWEST = 1.0
_SLOTS_IN_USE = Gauge("jit_aws_slots_in_use", "Asynchronous operations of ours outstanding", ["kind"])
_SLOWED = Counter("jit_aws_slowed_total", "Times our rate was halved because AWS throttled")


class TokenBucket:
    """Lets `rate` calls per second through, the most urgent first; None is no limit.

    Holds a second's worth at most. Others share AWS's quota, so a throttle halves the rate for a while.
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
        self._slow_until = 0.0
        self._slow_rate = rate or 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._pump: asyncio.Task[None] | None = None

    @property
    def rate(self) -> float | None:
        """Calls per second at this moment."""
        if self._rate is None or self._monotonic() >= self._slow_until:
            return self._rate
        return self._slow_rate

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
        """AWS said we are too fast: half the present rate, for half a minute from now."""
        if self._rate is None:
            return
        self._slow_rate = max(_SLOWEST, (self.rate or _SLOWEST) / 2)
        self._slow_until = self._monotonic() + SLOWER_FOR_S
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
    kind: CallKind


@dataclass
class Slots:
    """Who may have an operation outstanding: so many in all, fewer for creations, one per account.

    A slot is reserved before the visit that may need it, taken right before the call, and kept until the
    operation has ended. Deletions take no notice of what creations have only reserved: a visit that waits
    for AWS's answers before it can create holds no deletion up.
    """

    total: int
    for_grants: int
    _reserved: dict[int, Slot] = field(default_factory=dict)
    _taken: dict[int, Slot] = field(default_factory=dict)

    def reserve(self, assignment_id: int, account_id: str, kind: CallKind) -> bool:
        """False when there is no room for it now."""
        mine = Slot(account_id, kind)
        if not self._room(mine, [*self._taken.values(), *self._in_the_way(kind)]):
            return False
        self._reserved[assignment_id] = mine
        return True

    def take(self, assignment_id: int) -> bool:
        """Make a reservation good; False where there is none, or where deletions were faster."""
        mine = self._reserved.get(assignment_id)
        if mine is None or not self._room(mine, self._taken.values()):
            return False
        self._taken[assignment_id] = self._reserved.pop(assignment_id)
        self._measure()
        return True

    def release(self, assignment_id: int) -> None:
        self._reserved.pop(assignment_id, None)
        self._taken.pop(assignment_id, None)
        self._measure()

    def correct(self, in_flight: Iterable[tuple[int, str, CallKind]], *, visiting: set[int]) -> None:
        """Agree with what is stored, after a start, a takeover or a crash in between."""
        stored = {assignment_id: Slot(account, kind) for assignment_id, account, kind in in_flight}
        taken = {key: slot for key, slot in self._taken.items() if key in visiting}
        self._reserved = {key: slot for key, slot in self._reserved.items() if key in visiting}
        self._taken = stored | taken
        self._measure()

    def _in_the_way(self, kind: CallKind) -> list[Slot]:
        """What is only reserved and yet counts."""
        return [slot for slot in self._reserved.values() if kind == "create" or slot.kind == "delete"]

    def _room(self, mine: Slot, others: Collection[Slot]) -> bool:
        if any(slot.account_id == mine.account_id for slot in others):
            return False
        creating = sum(slot.kind == "create" for slot in others)
        return len(others) < self.total and (mine.kind == "delete" or creating < self.for_grants)

    def _measure(self) -> None:
        kinds: tuple[CallKind, ...] = ("create", "delete")
        for kind in kinds:
            _SLOTS_IN_USE.labels(kind).set(sum(slot.kind == kind for slot in self._taken.values()))


@dataclass
class Gate:
    """What every call to AWS passes: its turn by priority, then the lease, nothing in between."""

    bucket: TokenBucket
    check: Callable[[], None]

    async def __call__(self, priority: str) -> None:
        await self.bucket.take(priority)
        self.check()
