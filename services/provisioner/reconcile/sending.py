"""Makes the call that was written ahead, and saves what was answered. Sent once, never repeated here."""

from functools import partial

from services.provisioner.domain import call_outcomes
from services.provisioner.domain.assignments import Assignment
from services.provisioner.driver import AssignmentKey, DriverError
from services.provisioner.reconcile.parts import EngineParts, Outcome
from services.provisioner.store import claims
from services.provisioner.store.lease import LeaseLost
from shared.foundation.errors import Bug


class NoLongerWanted(Exception):
    """Every claim ended while the creation waited for its turn: it is not sent."""


async def send(parts: EngineParts, assignment: Assignment) -> None:
    """`assignment` is as saved, with the operation that is to be sent."""
    if assignment.op is None:
        raise Bug(f"assignment {assignment.id} has no call to make; this is a bug", code="op_missing")
    await parts.save_outcome(assignment.id, assignment.op, await _outcome(parts, assignment))


async def _outcome(parts: EngineParts, assignment: Assignment) -> Outcome:
    try:
        request_id = await _call(parts, assignment)
    except DriverError as error:
        return _lost(parts, error) if error.ambiguous else _refused(parts, error)
    except (NoLongerWanted, LeaseLost):
        return partial(call_outcomes.not_sent, now=parts.now)
    return partial(call_outcomes.accepted, request_id=request_id, now=parts.now, timing=parts.timing)


async def _call(parts: EngineParts, assignment: Assignment) -> str:
    if assignment.set_arn is None:
        raise Bug(
            f"assignment {assignment.id} was to be called without its ARN; this is a bug", code="arn_missing"
        )
    key = AssignmentKey(assignment.user_id, assignment.account_id, assignment.set_arn)
    if assignment.op is not None and assignment.op.kind == "create":
        sent = await parts.driver.create(key, confirm=partial(_still_wanted, parts, assignment.id))
    else:
        sent = await parts.driver.delete(key)
    return sent.request_id


async def _still_wanted(parts: EngineParts, assignment_id: int) -> None:
    """Asked after the wait for a turn, which may be long: a stop committed meanwhile must win."""
    async with parts.context.pool.acquire() as conn:
        if not await claims.any_holds(conn, assignment_id, now=parts.now):
            raise NoLongerWanted


def _lost(parts: EngineParts, error: DriverError) -> Outcome:
    return partial(call_outcomes.lost, error=str(error), now=parts.now, timing=parts.timing)


def _refused(parts: EngineParts, error: DriverError) -> Outcome:
    return partial(
        call_outcomes.refused,
        code=error.problem.value,
        error=str(error),
        now=parts.now,
        jitter=parts.jitter(),
        timing=parts.timing,
    )
