"""The expiry producer: ends claims when their time comes, retries extensions, is loud about what is late.

Leaderless and exact: every replica runs it, sleeps until the next end in the table and nudges the engine
directly, so that revoking does not depend on the broker. Ends wait for nothing else: what else there is to do
has a loop of its own. It never calls AWS; commands/ends.py ends claims.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from services.provisioner.commands.ends import end_due, fail_unwitnessed, mark_overdue
from services.provisioner.commands.extensions import postpone_broken, retry_extensions
from services.provisioner.commands.pause import report_pause
from services.provisioner.domain.claims import Claim
from services.provisioner.domain.timing import Objectives
from services.provisioner.store import extensions, schedule
from services.provisioner.store.errors import DATABASE_AWAY
from shared.context import Context
from shared.foundation.nudges import nudged
from shared.observability.logs import logger

_LONGEST_SLEEP_S = 5.0  # a claim that another replica stored is its business; this is for its crash
_LOCKED_AGAIN_S = 0.02
_AFTER_NUDGE_S = 1.0
_CHORES_EVERY_S = 5.0
_NUDGES_GATHER_S = 0.1
_CLOCKS_EVERY_S = 5.0

log = logger("expiry")


class Expiry:
    """The producer. `step` does everything that is due and says for how many seconds nothing will be."""

    def __init__(
        self,
        context: Context,
        *,
        objectives: Objectives,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self._context = context
        self._objectives = objectives
        self._changed = asyncio.Event()
        self._more_to_do = asyncio.Event()
        self._sleep = sleep or partial(nudged, self._changed)

    def nudge(self) -> None:
        """Claims have changed: look again at what ends next."""
        self._changed.set()
        self._more_to_do.set()

    async def run(self) -> None:
        """For ever; ends by cancellation, or when either loop fails."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._run_ends())
            loops.create_task(self._run_chores())

    async def _run_ends(self) -> None:
        while True:
            await self._until_next_step(await self._guarded(self._end_all()))

    async def _run_chores(self) -> None:
        """Every few seconds, and soon after a nudge."""
        while True:
            self._more_to_do.clear()
            await self._guarded(self._do_chores())
            await asyncio.sleep(_AFTER_NUDGE_S)
            await nudged(self._more_to_do, _CHORES_EVERY_S - _AFTER_NUDGE_S)

    async def _until_next_step(self, seconds: float) -> None:
        """A nudge may bring an end that is sooner.

        One query answers the nudges of a moment: under load there are dozens a second.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0:
            await self._sleep(left)
            if not self._changed.is_set():
                continue
            await asyncio.sleep(min(_NUDGES_GATHER_S, max(until - clock(), 0)))
            self._changed.clear()
            until = min(until, clock() + await self._guarded(self._until_next_end()))

    async def _guarded(self, work: Coroutine[Any, Any, float]) -> float:
        try:
            return await work
        except DATABASE_AWAY as error:
            log.warning("ends are waited for", error=f"{type(error).__name__}: {error}")
            return 1.0

    async def step(self) -> float:
        """All of it, one after the other: for tests and for virtual time. Seconds until the next look."""
        await self._end_all()
        await self._do_chores()
        return await self._until_next_end()

    async def _end_all(self) -> float:
        """Seconds until the next end."""
        while await self.end_due():
            pass
        # A nudge follows its commit: what was nudged for before this line is seen by the query after it.
        self._changed.clear()
        return await self._until_next_end()

    async def _do_chores(self) -> float:
        """What may wait for a lock, and for which no end may: seconds until the next time."""
        await self._fail_unwitnessed()
        await self._report_overdue()
        await self._report_pause()
        await self._retry_extensions()
        return _CHORES_EVERY_S

    async def _until_next_end(self) -> float:
        async with self._context.pool.acquire() as conn:
            next_end = await schedule.next_end(conn)
        if next_end is None:
            return _LONGEST_SLEEP_S
        left = (next_end - self._context.clock.now()).total_seconds()
        # Due, and yet not ended: another transaction holds its lock, for milliseconds.
        return min(max(left, _LOCKED_AGAIN_S if left <= 0 else 0.0), _LONGEST_SLEEP_S)

    async def end_due(self) -> int:
        """End one batch of claims whose windows are over; how many there were."""
        async with self._context.unit_of_work() as work:
            return await end_due(self._context, work)

    async def _fail_unwitnessed(self) -> None:
        before = self._context.clock.now() - self._objectives.witness_wait
        async with self._context.unit_of_work() as work:
            await fail_unwitnessed(self._context, work, received_before=before)

    async def _retry_extensions(self) -> None:
        """A few at a time, so that no end waits for them; one that breaks is loud, and stops no other."""
        async with self._context.pool.acquire() as conn:
            waiting = await extensions.due_tickets(conn, now=self._context.clock.now())
        for ticket_id in waiting:
            try:
                async with self._context.unit_of_work() as work:
                    await retry_extensions(self._context, work, ticket_id, wait=self._objectives.witness_wait)
            except Exception as error:  # noqa: BLE001 (whatever it is, the rest must go on)
                await self._put_aside(ticket_id, error)
            else:
                await self._context.alerts.clear(f"extension/{ticket_id}")

    async def _put_aside(self, ticket_id: str, error: Exception) -> None:
        """In a transaction of its own, which breaks in its turn when it is the database that is away."""
        async with self._context.unit_of_work() as work:
            await postpone_broken(self._context, work, ticket_id)
        await self._context.alerts.raise_alert(
            key=f"extension/{ticket_id}",
            summary="provisioner: an extension cannot be worked on; this is a bug",
            detail=f"ticket {ticket_id}: {type(error).__name__}: {error}; its access ends as before",
        )

    async def _report_overdue(self) -> None:
        """Make noise about late revokes, also where no engine is active. A fact once, an alert until gone."""
        before = self._context.clock.now() - self._objectives.revoke_objective
        async with self._context.pool.acquire() as conn:
            late = await schedule.overdue(conn, ended_before=before)
        for claim in late:
            if claim.overdue_at is None:
                async with self._context.unit_of_work() as work:
                    await mark_overdue(self._context, work, claim)
        if late:
            await self._alert_overdue(late)
        else:
            await self._context.alerts.clear("revoke_overdue")

    async def _report_pause(self) -> None:
        """On every replica, and after every start."""
        async with self._context.unit_of_work() as work:
            await report_pause(work)

    async def _alert_overdue(self, late: list[Claim]) -> None:
        worst = late[0]
        await self._context.alerts.raise_alert(
            key="revoke_overdue",
            summary=f"{len(late)} access(es) should have been revoked and are not verified gone",
            detail=f"the oldest: user {worst.user_id} on account {worst.account_id} with {worst.set_id}, "
            f"ticket {worst.ticket_id}, over since {worst.ended_at:%Y-%m-%d %H:%M:%SZ}. "
            "See GET /v1/operations and GET /v1/grants?state=revoking.",
        )


async def watch_clocks(
    context: Context,
    problem: Callable[[], str | None],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """For ever: be loud while the database's clock is not AWS's, which holds grants and no revoke."""
    while True:
        await report_clocks(context, problem())
        await sleep(_CLOCKS_EVERY_S)


async def report_clocks(context: Context, problem: str | None) -> None:
    if problem is None:
        await context.alerts.clear("clocks_apart")
        return
    await context.alerts.raise_alert(
        key="clocks_apart",
        summary="provisioner: the database's clock is not AWS's; grants wait",
        detail=f"{problem}; access ends by the database's clock as before. Set that machine's time",
    )
