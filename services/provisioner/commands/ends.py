"""The one way in which claims end, and what the expiry producer has done when time alone changes something.

They need the database and nothing else: no policy, no broker, no AWS.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from services.provisioner.domain import lifecycle
from services.provisioner.domain.assignments import end_claims as end_claims_of
from services.provisioner.domain.assignments import move
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.store import assignments, schedule
from services.provisioner.store.claims import ClaimKey
from shared.context import Context
from shared.contracts.access import EndCause
from shared.contracts.change import Origin
from shared.database.unit_of_work import UnitOfWork

_UNCONFIRMED: Final = "the approval service has not confirmed what ticket says was approved"


async def end_claims(
    work: UnitOfWork, keys: Sequence[ClaimKey], origin: Origin, *, cause: EndCause
) -> list[Claim]:
    """End these; answers those that were open, as they are now. One that had ended already stays as it is."""
    wanted = {key.id for key in keys}
    ended: list[Claim] = []
    for before in await assignments.lock(work.conn, [key.assignment_id for key in keys]):
        chosen = [claim for claim in before.claims if claim.id in wanted and claim.is_open]
        change = end_claims_of(before, chosen, origin, cause=cause)
        await assignments.save(work, before, change)
        ended += [after for claim in chosen if (after := change.state.claim(claim.id))]
    return ended


async def end_due(context: Context, work: UnitOfWork) -> int:
    """End one batch of claims whose windows are over; how many there were."""
    origin = context.origin(why="its window is over")
    now = origin.at
    count = 0
    ids = await schedule.lock_ended(work.conn, now=now)
    for before in await assignments.load(work.conn, ids):
        over = [claim for claim in before.claims if claim.is_open and claim.ends_at <= now]
        await assignments.save(work, before, end_claims_of(before, over, origin, cause=EndCause.EXPIRED))
        count += len(over)
    if count:
        work.after_commit(partial(context.nudge, *ids))
    return count


async def fail_unwitnessed(context: Context, work: UnitOfWork, *, received_before: datetime) -> None:
    """Claims that the approval service has not vouched for in time. Loud: this must not happen."""
    origin = context.origin()
    due = await schedule.unwitnessed(work.conn, received_before=received_before)
    ids = {key.id for key in due}
    for before in await assignments.lock(work.conn, [key.assignment_id for key in due]):
        waiting = [claim for claim in before.in_state(ClaimState.WAITING) if claim.id in ids]
        steps = [lifecycle.refuse(claim, origin, code="no_witness", detail=_UNCONFIRMED) for claim in waiting]
        await assignments.save(work, before, move(before, steps))


async def mark_overdue(context: Context, work: UnitOfWork, late: Claim) -> None:
    """A revoke is late beyond the objective: a fact, once."""
    origin = context.origin()
    before = await assignments.lock_one(work.conn, late.assignment_id)
    step = [
        lifecycle.mark_overdue(claim, origin, last_error=before.last_error)
        for claim in before.claims
        if claim.id == late.id
    ]
    await assignments.save(work, before, move(before, step))
