"""What became of our operations: one list call for all of them, then one look at each that has ended.

An operation whose request id was lost (a crash, a connection that broke off) is looked for among those
in progress; what nobody knows of is forgotten after a few seconds, and the next visit acts anew.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.provisioner.domain import call_outcomes
from services.provisioner.domain.assignments import CallKind
from services.provisioner.driver import AssignmentKey, DriverError, DriverProblem, Request
from services.provisioner.reconcile.parts import EngineParts, Outcome
from services.provisioner.store import assignments
from services.provisioner.store.schedule import InFlight

AT_ONCE: Final = 10
"""Operations whose ends are saved together; the first of them waits for so many calls."""


async def poll(parts: EngineParts, flights: Sequence[InFlight]) -> None:
    """Look after all of these; those a visit is just sending must not be among them."""
    kinds: tuple[CallKind, ...] = ("create", "delete")
    for kind in kinds:
        ours = [flight for flight in flights if flight.op.kind == kind]
        if not ours:
            continue
        try:
            outstanding = await parts.driver.outstanding(kind)
            for begin in range(0, len(ours), AT_ONCE):
                await _follow_some(parts, ours[begin : begin + AT_ONCE], outstanding, ours)
        except DriverError as error:
            parts.slow_down_if_throttled(error)


async def _follow_some(
    parts: EngineParts, some: Sequence[InFlight], outstanding: Sequence[Request], ours: Sequence[InFlight]
) -> None:
    """What was found out is saved, also where the next call fails."""
    found: list[tuple[InFlight, Outcome]] = []
    failure: DriverError | None = None
    for flight in some:
        try:
            outcome = await _follow(parts, flight, outstanding, ours)
        except DriverError as error:
            failure = error
            break
        if outcome is not None:
            found.append((flight, outcome))
    await _save(parts, found)
    if failure is not None:
        raise failure


async def _follow(
    parts: EngineParts, flight: InFlight, outstanding: Sequence[Request], ours: Sequence[InFlight]
) -> Outcome | None:
    """How it ended, as far as is known; None while it is in progress."""
    request_id = flight.op.request_id
    if request_id is None:
        return await _find(parts, flight, outstanding, ours)
    if any(request.request_id == request_id for request in outstanding):
        await _check_patience(parts, flight)
        return None
    return await _finish(parts, flight, request_id)


async def _finish(parts: EngineParts, flight: InFlight, request_id: str) -> Outcome | None:
    """It is no longer in progress: ask once how it ended."""
    try:
        request = await parts.driver.follow(flight.op.kind, request_id)
    except DriverError as error:
        if error.problem is not DriverProblem.NOT_FOUND:
            raise
        return _outcome(parts, None)
    if request.status == "IN_PROGRESS":
        await _check_patience(parts, flight)
        return None
    return _outcome(parts, request)


async def _find(
    parts: EngineParts, flight: InFlight, outstanding: Sequence[Request], ours: Sequence[InFlight]
) -> Outcome:
    """Among the requests in progress whose owner is not known, the one for this assignment.

    AWS's dates are not compared with our clock: the key says what a request is about.
    """
    async with parts.context.pool.acquire() as conn:
        [assignment] = await assignments.load(conn, [flight.id])
    wanted = AssignmentKey(assignment.user_id, assignment.account_id, assignment.set_arn or "")
    known = {other.op.request_id for other in ours}
    for request in outstanding:
        if request.request_id in known:
            continue
        described = await parts.driver.follow(flight.op.kind, request.request_id)
        if described.key == wanted:
            return _outcome(parts, described)
    return _outcome(parts, None)


async def _check_patience(parts: EngineParts, flight: InFlight) -> None:
    """An operation that does not end is waited for, loudly.

    Acting anew would not help: AWS answers with a conflict while it runs. And absence proves nothing as
    long as a creation may still come true.
    """
    if parts.now - flight.op.started < parts.timing.operation_patience:
        return
    await parts.context.alerts.raise_alert(
        key=f"operation/{flight.op.request_id}",
        summary="AWS does not finish an operation",
        detail=f"{flight.op.kind} {flight.op.request_id} on account {flight.account_id}, "
        f"since {flight.op.started:%Y-%m-%d %H:%M:%SZ}; nothing else can be done about this assignment",
    )


async def _save(parts: EngineParts, found: Sequence[tuple[InFlight, Outcome]]) -> None:
    for flight, _ in found:
        await parts.context.alerts.clear(f"operation/{flight.op.request_id}")
    if found:
        await parts.save_outcomes({flight.id: (flight.op, outcome) for flight, outcome in found})


def _outcome(parts: EngineParts, request: Request | None) -> Outcome:
    if request is None:
        return partial(call_outcomes.forgotten, now=parts.now, timing=parts.timing)
    if request.status == "IN_PROGRESS":
        return partial(
            call_outcomes.accepted, request_id=request.request_id, now=parts.now, timing=parts.timing
        )
    if request.status == "SUCCEEDED":
        return partial(call_outcomes.succeeded, now=parts.now)
    return partial(
        call_outcomes.failed,
        reason=request.reason,
        now=parts.now,
        jitter=parts.jitter(),
        timing=parts.timing,
    )
