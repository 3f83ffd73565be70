"""AWS's limits, kept by us: calls per second in the order of their priority, slots, one operation an account.

In one process, which suffices because only one engine is active. Nothing here calls AWS or knows claims.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
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


@dataclass
class Slots:
    """Who may have an operation outstanding: so many in all, fewer for creations, one per account.

    A slot is taken before the visit that may need it and kept until the operation has ended.
    """

    total: int
    for_grants: int
    _held: dict[int, tuple[str, CallKind]] = field(default_factory=dict)

    def take(self, assignment_id: int, account_id: str, kind: CallKind) -> bool:
        """False when there is no room; deletions may use all slots, so they never wait for creations."""
        if any(account == account_id for account, _ in self._held.values()):
            return False
        creating = sum(held == "create" for _, held in self._held.values())
        if len(self._held) >= self.total or (kind == "create" and creating >= self.for_grants):
            return False
        self._held[assignment_id] = (account_id, kind)
        self._measure()
        return True

    def release(self, assignment_id: int) -> None:
        self._held.pop(assignment_id, None)
        self._measure()

    def correct(self, in_flight: Iterable[tuple[int, str, CallKind]], *, visiting: set[int]) -> None:
        """Agree with what is stored, after a start, a takeover or a crash in between."""
        stored = {assignment_id: (account, kind) for assignment_id, account, kind in in_flight}
        taken = {key: held for key, held in self._held.items() if key in visiting}
        self._held = stored | taken
        self._measure()

    def _measure(self) -> None:
        kinds: tuple[CallKind, ...] = ("create", "delete")
        for kind in kinds:
            _SLOTS_IN_USE.labels(kind).set(sum(held == kind for _, held in self._held.values()))


@dataclass
class Gate:
    """What every call to AWS passes: its turn by priority, then the lease, nothing in between."""

    bucket: TokenBucket
    check: Callable[[], None]

    async def __call__(self, priority: str) -> None:
        await self.bucket.take(priority)
        self.check()
