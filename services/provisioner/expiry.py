"""Ends of claims: the one way in which claims end, and the producer that ends them when their time comes.

Leaderless and exact: every replica runs it, sleeps until the next end in the table and nudges the
reconciler directly, so that revoking does not depend on the broker. It never calls AWS.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Histogram

from services.provisioner.domain import claims as claim_life
from services.provisioner.domain.assignments import Assignment, claim_ended
from services.provisioner.domain.claims import Claim, ClaimState, Said, Stamp
from services.provisioner.store import assignments, claims
from services.provisioner.store.errors import DATABASE_AWAY
from shared.context import Context
from shared.contracts.access import EndCause
from shared.database.pool import Conn, transaction
from shared.observability.logs import logger

LATENESS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600)
_LATENESS = Histogram(
    "jit_end_lateness_seconds", "From the end of a window to its revoke event", buckets=LATENESS_BUCKETS
)
_LONGEST_SLEEP_S = 5.0  # a claim that another replica stored is its business; this is for its crash
_LOCKED_AGAIN_S = 0.02

log = logger("expiry")


async def end_claims(
    conn: Conn, pairs: Sequence[tuple[str, int]], *, stamp: Stamp, cause: EndCause, why: str
) -> list[Claim]:
    """End these (claim, assignment): facts, states and what is desired, in the caller's transaction.

    Returns those that were open, as they are now; one that had ended already stays as it is.
    """
    wanted = {claim_id for claim_id, _ in pairs}
    ended = await _end(
        conn, [assignment_id for _, assignment_id in pairs], lambda claim: claim.id in wanted,
        stamp=stamp, cause=cause, why=why,
    )  # fmt: skip
    return [claim for claim, _ in ended]


async def _end(
    conn: Conn,
    assignment_ids: Sequence[int],
    chosen: Callable[[Claim], bool],
    *,
    stamp: Stamp,
    cause: EndCause,
    why: str,
) -> list[tuple[Claim, Assignment]]:
    """The claims that ended, each with its assignment as it was."""
    rows = await assignments.lock_assignments(conn, assignment_ids)
    found = await claims.claims_of_assignments(conn, list(rows))
    said: list[Said] = [
        claim_life.end(claim, stamp, cause=cause, why=why)
        for claim in found
        if chosen(claim) and claim.state in claim_life.OPEN
    ]
    await claims.save_said(conn, said, loaded=found)
    after = {claim.id: claim for claim in found} | {claim.id: claim for claim, _ in said}
    for assignment_id in {claim.assignment_id for claim, _ in said if claim.state is ClaimState.REVOKING}:
        held = any(claim.assignment_id == assignment_id and claim.holds(stamp.at) for claim in after.values())
        row = claim_ended(rows[assignment_id], still_held=held, now=stamp.at)
        await assignments.save_assignment(conn, row)
    return [(claim, rows[claim.assignment_id]) for claim, _ in said]


async def alert_never_granted(context: Context, claim: Claim, last_error: str) -> None:
    """Somebody was promised access and did not get it: AWS's doing or ours, and nobody else says so."""
    reason = last_error or "nothing was heard of AWS: no slot, no turn at its limits, or no active engine"
    await context.alerts.raise_alert(
        key=f"grant_failed/{claim.id}",
        summary="a window ended before its grant was made",
        detail=f"ticket {claim.ticket_id}, user {claim.user_id}, account {claim.account_id}, "
        f"set {claim.set_id}: {reason}",
        once=True,
    )


@dataclass(frozen=True, slots=True)
class Objectives:
    """How long a missing witness is waited for, and after what time a revoke is called late."""

    witness_wait: timedelta = timedelta(seconds=60)
    revoke_objective: timedelta = timedelta(minutes=2)


class Expiry:
    """The producer. `step` does everything that is due and says for how many seconds nothing will be."""

    def __init__(
        self,
        context: Context,
        *,
        objectives: Objectives,
        nudge: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._context = context
        self._objectives = objectives
        self._nudge_engine = nudge
        self._changed = asyncio.Event()
        self._sleep = sleep or self._sleep_until_nudged

    def nudge(self) -> None:
        """Claims have changed: look again at what ends next."""
        self._changed.set()

    async def run(self) -> None:
        while True:
            try:
                pause = await self.step()
            except DATABASE_AWAY as error:
                log.warning("ends are waited for", error=f"{type(error).__name__}: {error}")
                pause = 1.0
            await self._sleep(pause)

    async def step(self) -> float:
        """Seconds until the next look."""
        self._changed.clear()
        while await self.end_due():
            self._nudge_engine()
        await self._fail_unwitnessed()
        await self._say_overdue()
        async with self._context.pool.acquire() as conn:
            next_end = await claims.next_end(conn)
        if next_end is None:
            return _LONGEST_SLEEP_S
        left = (next_end - self._context.clock.now()).total_seconds()
        # Due, and yet not ended: another transaction holds its lock, for milliseconds.
        return min(max(left, _LOCKED_AGAIN_S if left <= 0 else 0.0), _LONGEST_SLEEP_S)

    async def end_due(self) -> int:
        """End one batch of claims whose windows are over; how many there were."""
        async with transaction(self._context.pool) as conn:
            now = self._context.clock.now()
            ids = await claims.lock_due_assignments(conn, now=now)
            ended = await _end(
                conn, ids, lambda claim: claim.ends_at <= now,
                stamp=self._stamp(now), cause=EndCause.EXPIRED, why="its window is over",
            )  # fmt: skip
        for claim, row in ended:
            _LATENESS.observe((now - claim.ends_at).total_seconds())
            if claim.granted_at is None:
                await alert_never_granted(self._context, claim, row.last_error)
        return len(ended)

    async def _fail_unwitnessed(self) -> None:
        """Claims that the approval service has not vouched for in time. Loud: this must not happen."""
        now = self._context.clock.now()
        async with transaction(self._context.pool) as conn:
            due = await claims.unwitnessed(conn, received_before=now - self._objectives.witness_wait)
            await assignments.lock_assignments(conn, [assignment_id for _, assignment_id in due])
            found = await claims.claims_of_assignments(conn, [assignment_id for _, assignment_id in due])
            detail = "the approval service has not confirmed what ticket says was approved"
            wanted = {claim_id for claim_id, _ in due}
            said = [
                claim_life.refuse(claim, self._stamp(now), code="no_witness", detail=detail)
                for claim in found
                if claim.id in wanted and claim.state is ClaimState.WAITING
            ]
            await claims.save_said(conn, said, loaded=found)
        for claim, _ in said:
            await self._context.alerts.raise_alert(
                key=f"no_witness/{claim.target_id}",
                summary="an approval without its witness was not granted",
                detail=f"ticket {claim.ticket_id}, target {claim.target_id}: {detail}",
                once=True,
            )

    async def _say_overdue(self) -> None:
        """Make noise about late revokes, also where no engine is active. Said once, alerted until gone."""
        now = self._context.clock.now()
        before = now - self._objectives.revoke_objective
        async with self._context.pool.acquire() as conn:
            late = await claims.overdue(conn, ended_before=before)
        for claim in late:
            if claim.overdue_at is None:
                await self._say_one_overdue(claim, now)
        if not late:
            await self._context.alerts.clear("revoke_overdue")
            return
        worst = late[0]
        await self._context.alerts.raise_alert(
            key="revoke_overdue",
            summary=f"{len(late)} access(es) should have been revoked and are not verified gone",
            detail=f"the oldest: user {worst.user_id} on account {worst.account_id} with {worst.set_id}, "
            f"ticket {worst.ticket_id}, over since {worst.ended_at:%Y-%m-%d %H:%M:%SZ}. "
            "See GET /v1/operations and GET /v1/grants?state=revoking.",
        )

    async def _say_one_overdue(self, late: Claim, now: datetime) -> None:
        async with transaction(self._context.pool) as conn:
            row = await assignments.lock_assignment(conn, late.assignment_id)
            found = await claims.claims_of_assignments(conn, [row.id])
            said = [
                claim_life.call_overdue(claim, self._stamp(now), last_error=row.last_error)
                for claim in found
                if claim.id == late.id and claim.state is ClaimState.REVOKING and claim.overdue_at is None
            ]
            await claims.save_said(conn, said, loaded=found)

    def _stamp(self, now: datetime) -> Stamp:
        return Stamp(now, self._context.actor)

    async def _sleep_until_nudged(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return
