"""The engine: finds what is due, begins visits within AWS's limits, and polls. Only the lease's holder acts.

Level-triggered: a round on a timer looks at everything, and a nudge only says what to look at sooner. `run`
keeps visits going side by side, so that a slow call holds nobody up; `step` does one round and waits for it,
for tests and for virtual time.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from services.provisioner.domain.assignments import Assignment
from services.provisioner.limits import Slots
from services.provisioner.reconcile.parts import EngineParts
from services.provisioner.reconcile.polling import poll
from services.provisioner.reconcile.visit import visit
from services.provisioner.store import assignments, schedule
from services.provisioner.store.errors import DATABASE_AWAY
from services.provisioner.store.lease import LeaseLost
from services.provisioner.store.schedule import Due, InFlight
from shared.observability.logs import logger

_TIMER_S = 1.0
_STANDBY_S = 0.25
_BETWEEN_ROUNDS_S = 0.05
"""However often it is nudged; what a nudge names is looked at at once."""
_LOOK_EVERY_S = 0.01
LOOKS_WITHIN_S = 0.5
"""However many are due together."""
_HOLD_BACK = timedelta(seconds=5)
"""A visit that failed for no reason we know is not repeated at once."""

log = logger("engine")


@dataclass(frozen=True, slots=True)
class _Visit:
    """One that is going on."""

    task: asyncio.Task[None]
    urgent: bool


class Engine:
    """One per process."""

    def __init__(
        self,
        parts: EngineParts,
        slots: Slots,
        *,
        concurrency: int,
    ) -> None:
        self.parts = parts
        self.slots = slots
        self._concurrency = concurrency
        self._nudged = asyncio.Event()
        self._named: set[int] = set()
        self._anything = False
        self._crowded = False
        """Something due could not begin since the last round: there may be room for it when a visit ends."""
        self._visits: dict[int, _Visit] = {}
        self._poll: asyncio.Task[None] | None = None
        self._polled_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._held_back: dict[int, datetime] = {}

    def nudge(self, *assignment_ids: int) -> None:
        """These may be due, or without any: something may. It costs little if not."""
        self._named.update(assignment_ids)
        self._anything = self._anything or not assignment_ids
        self._nudged.set()

    async def run(self) -> None:
        """For ever; ends by cancellation, which takes the visits with it."""
        try:
            while True:
                await self._until_next_round(await self._guarded(self._round(look_every_s=_LOOK_EVERY_S)))
        finally:
            await self.stop()

    async def step(self) -> None:
        """One whole round: what is due now is visited, what is in flight polled. Raises what they raise."""
        if not await self.parts.lease.renew():
            return
        self._polled_at = None
        await self._round()
        await self._settled()

    async def stop(self) -> None:
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_next_round(self, seconds: float) -> None:
        """Meanwhile begin what nudges name."""
        clock = asyncio.get_running_loop().time
        started = clock()
        while True:
            soon = _BETWEEN_ROUNDS_S if self._anything else seconds
            if (left := started + soon - clock()) <= 0:
                return
            await self._sleep_until_nudged(left)
            self._nudged.clear()
            if self._named:
                await self._guarded(self._begin_named())

    async def _guarded(self, work: Coroutine[Any, Any, float]) -> float:
        try:
            return await work
        except DATABASE_AWAY as error:
            log.warning("the engine waits for the database", error=f"{type(error).__name__}: {error}")
            return _TIMER_S

    async def _round(self, *, look_every_s: float = 0.0) -> float:
        """Begin what can begin; the seconds until there may be more to do, if nobody nudges."""
        self._nudged.clear()
        self._named.clear()
        self._anything = self._crowded = False
        if not self.parts.lease.held:
            return _STANDBY_S
        now = self.parts.now
        if self._looked_at is not None and now < self._looked_at:
            await self._after_set_back(now)
        self._looked_at = now
        async with self.parts.context.pool.acquire() as conn:
            flights = await schedule.in_flight(conn)
            due = await schedule.due_assignments(conn, now=now)
            next_due = await schedule.next_due(conn)
        self.slots.correct(
            ((flight.id, flight.account_id, flight.op.kind) for flight in flights), visiting=set(self._visits)
        )
        for candidate, wait_s in spaced(due, every_s=look_every_s):
            self._begin(candidate, now, wait_s=wait_s)
        self._begin_poll([flight for flight in flights if flight.id not in self._visits], now)
        if flights or next_due is None or next_due <= now:
            return _TIMER_S
        return min(_TIMER_S, (next_due - now).total_seconds())

    async def _after_set_back(self, now: datetime) -> None:
        """The clock was set back: what was to be looked at soon would wait for as long as that."""
        self._polled_at = None
        self._held_back.clear()
        async with self.parts.fenced([]) as (work, _):
            await schedule.make_due(work.conn, now=now)

    async def _begin_named(self) -> float:
        ids, self._named = self._named, set()
        if self.parts.lease.held:
            now = self.parts.now
            async with self.parts.context.pool.acquire() as conn:
                found = await assignments.load(conn, ids)
            due = {one.id: one for one in found if one.is_due(now)}
            candidates = [Due.of(one, now) for one in due.values()]
            for candidate in sorted(candidates, key=lambda one: not one.urgent):
                self._begin(candidate, now, loaded=due[candidate.id])
        return _TIMER_S

    def _begin(
        self, due: Due, now: datetime, *, wait_s: float = 0.0, loaded: Assignment | None = None
    ) -> None:
        """A visit, if there is room and the slot it may need is free. `loaded` spares it the loading.

        Those that take access away have room of their own: others may wait long for a turn with AWS.
        """
        alike = sum(visit.urgent == due.urgent for visit in self._visits.values())
        if due.id in self._visits or self._held_back.get(due.id, now) > now:
            return
        self._held_back.pop(due.id, None)
        full = alike >= self._concurrency
        if full or (due.call is not None and not self.slots.reserve(due.id, due.account_id, due.call)):
            self._crowded = True
            return
        self._visits[due.id] = _Visit(self._start(self._visit(due.id, loaded, wait_s)), due.urgent)

    async def _visit(self, assignment_id: int, loaded: Assignment | None, wait_s: float) -> None:
        in_flight = False
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            assignment = loaded or await self._load(assignment_id)
            in_flight = await visit(self.parts, assignment, take_slot=partial(self.slots.take, assignment_id))
            await self.parts.context.alerts.clear(f"visit/{assignment_id}")
        except LeaseLost as error:
            log.warning("visit given up", assignment=assignment_id, reason=str(error))
        except DATABASE_AWAY:
            self._held_back[assignment_id] = self.parts.now + _HOLD_BACK
            raise
        except Exception as error:
            self._held_back[assignment_id] = self.parts.now + _HOLD_BACK
            await self.parts.context.alerts.raise_alert(
                key=f"visit/{assignment_id}",
                summary="provisioner: an assignment cannot be worked on; this is a bug",
                detail=f"assignment {assignment_id}: {type(error).__name__}: {error}; it is tried again",
            )
            raise
        finally:
            self._visits.pop(assignment_id, None)
            if not in_flight:
                self.slots.release(assignment_id)
            if self._crowded:
                self.nudge()
            elif not in_flight:
                self.nudge(assignment_id)

    async def _load(self, assignment_id: int) -> Assignment:
        async with self.parts.context.pool.acquire() as conn:
            [assignment] = await assignments.load(conn, [assignment_id])
        return assignment

    def _begin_poll(self, flights: list[InFlight], now: datetime) -> None:
        polling = self._poll is not None and not self._poll.done()
        early = self._polled_at is not None and now - self._polled_at < self.parts.timing.poll_every
        if flights and not polling and not early:
            self._polled_at = now
            self._poll = self._start(self._poll_once(flights))

    async def _poll_once(self, flights: list[InFlight]) -> None:
        try:
            await poll(self.parts, flights)
        except LeaseLost as error:
            log.warning("poll given up", reason=str(error))
        finally:
            self.nudge()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._report)
        return task

    def _report(self, task: asyncio.Task[None]) -> None:
        """A task nobody waits for must not fail in silence."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, DATABASE_AWAY):
            log.warning("a visit waits for the database", error=f"{type(error).__name__}: {error}")
        elif isinstance(error, Exception):
            log.error("a visit failed; this is a bug", exc_info=error)

    async def _settled(self) -> None:
        """Everything begun has ended; the first failure is raised once all have."""
        outcomes = await asyncio.gather(*self._tasks(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _tasks(self) -> list[asyncio.Task[None]]:
        polling = [self._poll] if self._poll is not None and not self._poll.done() else []
        return [*(visit.task for visit in self._visits.values()), *polling]

    async def _sleep_until_nudged(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._nudged.wait(), seconds)
        except TimeoutError:
            return


def spaced(due: Iterable[Due], *, every_s: float) -> Iterator[tuple[Due, float]]:
    """Each with the seconds after which it begins: looks one after the other, all else at once.

    Else a grant or revoke that comes a moment later queues behind all of the looks that are due by then.
    """
    looks = 0
    for one in due:
        yield one, min(looks * every_s, LOOKS_WITHIN_S) if one.only_looks else 0.0
        looks += one.only_looks
