"""The engine: finds what is due, begins visits within AWS's limits, and polls. Only the lease's holder acts.

Level-triggered: a round on a timer looks at everything, and a nudge only says what to look at sooner. `run`
keeps visits going side by side, so that a slow call holds nobody up; `step` does one round and waits for it,
for tests and for virtual time.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.provisioner.domain.assignments import Assignment, CallKind
from services.provisioner.domain.queue import Pace
from services.provisioner.limits import Slot, Slots
from services.provisioner.reconcile.parts import EngineParts
from services.provisioner.reconcile.polls import Polls
from services.provisioner.reconcile.tasks import start
from services.provisioner.reconcile.turns import Turns, spaced
from services.provisioner.reconcile.visit import visit
from services.provisioner.store import assignments, schedule
from services.provisioner.store.errors import DATABASE_AWAY
from services.provisioner.store.lease import LeaseLost
from services.provisioner.store.schedule import Due, InFlight
from shared.foundation.nudges import nudged
from shared.observability.logs import logger

_TIMER_S = 1.0
_STANDBY_S = 0.25
_BETWEEN_ROUNDS_S = 0.05
"""However often it is nudged; what a nudge names is looked at at once."""
_LOOK_EVERY_S = 0.01
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
        self.turns = Turns(slots)
        self.polls = Polls(parts, slots, self._poll_ended)
        self._in_steps = True
        """Everything that can be done is done at each step, and nothing ahead."""
        self._concurrency = concurrency
        self._nudged = asyncio.Event()
        self._named: set[int] = set()
        self._anything = False
        self._freed = False
        """A poll has freed slots since the last round: they are given away at once."""
        self._crowded = False
        """Something due could not begin since the last round: there may be room for it when a visit ends."""
        self._ends_wait = False
        """For a slot."""
        self._visits: dict[int, _Visit] = {}
        self._looked_at: datetime | None = None
        self._held_back: dict[int, datetime] = {}

    def nudge(self, *assignment_ids: int) -> None:
        """These may be due, or without any: something may. It costs little if not."""
        self._named.update(assignment_ids)
        self._anything = self._anything or not assignment_ids
        self._nudged.set()

    def pace(self) -> Pace:
        """How fast AWS works for us, as far as this replica has seen."""
        each = self.polls.times.seconds_each
        return Pace(self.slots.total, self.slots.for_grants, create_s=each("create"), delete_s=each("delete"))

    async def run(self) -> None:
        """For ever; ends by cancellation, which takes the visits with it."""
        self._in_steps = False
        try:
            while True:
                await self._until_next_round(await self._guarded(self._round(look_every_s=_LOOK_EVERY_S)))
        finally:
            await self.stop()

    async def step(self) -> None:
        """One whole round: what is due now is visited, what is in flight polled. Raises what they raise."""
        if not await self.parts.lease.renew():
            return
        await self._round()
        await self._settled()

    async def stop(self) -> None:
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.parts.reads.stop()
        await self.parts.directory.stop()

    async def _until_next_round(self, seconds: float) -> None:
        """Meanwhile begin what nudges name."""
        clock = asyncio.get_running_loop().time
        started = clock()
        while True:
            soon = _BETWEEN_ROUNDS_S if self._anything else seconds
            if self._freed or (left := started + soon - clock()) <= 0:
                return
            await nudged(self._nudged, left)
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
        self._anything = self._freed = self._crowded = self._ends_wait = False
        if not self.parts.lease.may_change:
            return _STANDBY_S
        now, as_of, visiting = self.parts.now, self.slots.snapshot(), set(self._visits)
        if self._looked_at is not None and now < self._looked_at:
            await self._after_set_back(now)
        self._looked_at = now
        async with self.parts.context.pool.acquire() as conn:
            flights = await schedule.in_flight(conn)
            due = await schedule.due_assignments(conn, now=now)
            next_due = await schedule.next_due(conn)
        self.slots.correct({one.id: _slot(one) for one in flights}, visiting=visiting, as_of=as_of)
        for candidate, wait_s in spaced(self.turns.in_order(due, now), every_s=look_every_s):
            self._begin(candidate, now, wait_s=wait_s)
        # Of those that were visited meanwhile it was not read what became of their calls.
        visited = visiting.union(self._visits)
        next_poll_s = self.polls.begin(
            [flight for flight in flights if flight.id not in visited],
            ends_wait=self._ends_wait,
            at_once=self._in_steps,
        )
        if next_due is None or next_due <= now:
            return min(_TIMER_S, next_poll_s)
        return min(_TIMER_S, next_poll_s, (next_due - now).total_seconds())

    async def _after_set_back(self, now: datetime) -> None:
        """The clock was set back: what was to be looked at soon would wait for as long as that."""
        self._held_back.clear()
        async with self.parts.fenced([]) as (work, _):
            await schedule.make_due(work.conn, now=now)

    async def _begin_named(self) -> float:
        ids, self._named = self._named, set()
        if self.parts.lease.may_change:
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
        if self.turns.waits_for_company(due, now):
            return
        self._held_back.pop(due.id, None)
        if alike >= self._concurrency or (due.call is not None and not self._may_begin(due, due.call, now)):
            self._crowded = True
            return
        self._visits[due.id] = _Visit(start(self._visit(due.id, loaded, wait_s)), due.urgent)

    def _may_begin(self, due: Due, call: CallKind, now: datetime) -> bool:
        """With a slot for the call that it may come to; or without, to read AWS while it waits for one."""
        if self.slots.reserve(due.id, self.turns.slot_for(due, call, now)):
            self.turns.began(due, now)
            return True
        self._crowded = True
        self._ends_wait = self._ends_wait or call == "delete"
        return not self._in_steps and self.turns.may_look_ahead(due, now)

    async def _visit(self, assignment_id: int, loaded: Assignment | None, wait_s: float) -> None:
        in_flight = False
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            assignment = loaded or await self._load(assignment_id)
            in_flight = await visit(
                self.parts,
                assignment,
                take_slot=lambda: self.slots.take(assignment_id, now=self.parts.now),
            )
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

    def _poll_ended(self, freed: bool) -> None:
        self._freed = self._freed or freed
        self.nudge()

    async def _settled(self) -> None:
        """Everything begun has ended; the first failure is raised once all have."""
        outcomes = await asyncio.gather(*self._tasks(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*(visit.task for visit in self._visits.values()), *self.polls.tasks.values()]


def _slot(flight: InFlight) -> Slot:
    return Slot(flight.account_id, flight.set_id, flight.op.kind, since=flight.op.started)
