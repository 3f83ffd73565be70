"""One visit to one assignment: look, decide, commit, and only then call AWS.

Level-triggered and killable anywhere: whatever is interrupted is found again by the next visit or by
polling.py. Every transaction begins with the fence, and none is open while AWS is called.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from services.provisioner.commands.rechecks import known_of_starting, may_begin
from services.provisioner.domain import call_outcomes, decisions
from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.rechecks import recheck
from services.provisioner.domain.revoking import still_there
from services.provisioner.domain.steps import Reading, Step
from services.provisioner.driver import DriverError
from services.provisioner.reconcile import looking
from services.provisioner.reconcile.looking import Seen, set_arn
from services.provisioner.reconcile.parts import EngineParts
from services.provisioner.reconcile.sending import send
from services.provisioner.store import assignments
from shared.contracts.change import Change
from shared.database.unit_of_work import UnitOfWork


async def visit(parts: EngineParts, assignment: Assignment, *, take_slot: Callable[[], bool]) -> bool:
    """One step for one assignment; whether an operation of ours is in flight after it.

    `assignment` is as it was found due, without a lock: it says what to read of AWS, and no more. `take_slot`
    is asked once AWS was read: without a slot nothing is sent, and the assignment stays due.
    """
    if assignment.op is not None:
        return True
    now = parts.now
    beginning = await may_begin(parts.context, assignment, now)
    seen: Seen | None = None
    if beginning or decisions.needs_reading(assignment, now):
        try:
            seen = await looking.look(parts, assignment, beginning=beginning)
        except DriverError as error:
            await _could_not_look(parts, assignment, error)
            return False
        await parts.unread.succeeded(parts.context.alerts, assignment)
    after = await _decide(parts, assignment.id, seen, take_slot=take_slot)
    if after is not None and after.op is not None:
        await send(parts, after)
    return after is None or after.op is not None


async def _could_not_look(parts: EngineParts, assignment: Assignment, error: DriverError) -> None:
    unreadable = partial(
        call_outcomes.unreadable,
        error=str(error),
        now=parts.now,
        jitter=parts.jitter(),
        timing=parts.timing,
    )
    await parts.save_outcome(assignment.id, None, unreadable)
    await parts.unread.failed(parts.context.alerts, assignment, error)


async def _decide(
    parts: EngineParts, assignment_id: int, seen: Seen | None, *, take_slot: Callable[[], bool]
) -> Assignment | None:
    """Decide on what is true now, under the lock, and write it ahead of any call.

    None when an operation of ours is in flight already: nothing is decided then.
    """
    async with parts.fenced([assignment_id]) as (work, [before]):
        if before.op is not None:
            return None
        change = await _change(parts, work, before, seen, may_send=take_slot())
        await assignments.save(work, before, change)
        if before.reappeared and not change.state.reappeared:
            work.clear(still_there(before))
        return change.state


async def _change(
    parts: EngineParts, work: UnitOfWork, before: Assignment, seen: Seen | None, *, may_send: bool
) -> Change[Assignment]:
    origin = parts.origin
    live = seen.live if seen else None
    clock_problem = parts.clock_problem()
    known = await known_of_starting(parts.context, work.conn, before, origin.at, clock_problem=clock_problem)
    verdicts = {claim.id: recheck(claim, known[claim.id], live) for claim in before.starting(origin.at)}
    # A creation that is not listed yet needs no slot: who begins meanwhile waits for it with the others.
    needs_slot = decisions.likely_call(wanted=True, observed=before.observed) is not None
    may_begin = seen is not None and live is not None and (seen.found or may_send or not needs_slot)
    begun, waiting = decisions.start_claims(before, verdicts, origin, may_begin=may_begin)
    step = Step(origin, parts.timing, may_send, waiting)
    current = _with_arn(parts, begun.state)
    change = begun.then(decisions.decide(current, _reading(parts, before, seen), step))
    held = any(one.held for one in known.values())
    later = decisions.look_again_after(change.state, parts.timing, asked=live is not None, held=held)
    # Where only the slot is missing it keeps its place in line.
    again = origin.at + later if later else min(before.next_at or origin.at, origin.at)
    return replace(change, state=decisions.wait(change.state, waiting, again=again))


def _with_arn(parts: EngineParts, assignment: Assignment) -> Assignment:
    if not assignment.in_state(ClaimState.GRANTING):
        return assignment
    return replace(assignment, set_arn=set_arn(parts, assignment))


def _reading(parts: EngineParts, assignment: Assignment, seen: Seen | None) -> Reading | None:
    """With the user's groups as far as the directory is known here: revoking does not wait for it."""
    if seen is None:
        return None
    groups = parts.context.policy.known().groups_of(assignment.user_id)
    return Reading(seen.found, tuple(sorted(seen.groups & groups)))
