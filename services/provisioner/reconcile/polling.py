"""What became of our operations: one list of the newest requests tells of all of them.

What is not in it is looked for among those in progress, and what is not there either is asked for one by one.
An operation whose request id was lost (a crash, a connection that broke off) is looked for among those in
progress; what nobody knows of is forgotten after a few seconds, and the next visit acts anew.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.provisioner.domain import call_outcomes
from services.provisioner.domain.assignments import CallKind
from services.provisioner.driver import AssignmentKey, DriverError, DriverProblem, Request
from services.provisioner.reconcile.parts import EngineParts, Outcome
from services.provisioner.store import assignments
from services.provisioner.store.schedule import InFlight
from shared.observability.logs import logger

AT_ONCE: Final = 10
"""Operations whose ends are saved together; the first of them waits for so many calls."""

log = logger("polling")


@dataclass(frozen=True, slots=True)
class _Listed:
    """What AWS's lists say, by request id."""

    requests: Mapping[str, Request]
    whole: bool
    """Whether everything that is in progress is among them."""


async def poll(parts: EngineParts, kind: CallKind, ours: Sequence[InFlight]) -> set[int]:
    """Look after all of these, which are of one kind; answers those that are over.

    Those that a visit is just sending must not be among them. What cannot be asked for now is asked for by
    the next poll, and keeps nobody else waiting.
    """
    listed = await _listed(parts, kind, ours)
    over: set[int] = set()
    for begin in range(0, len(ours), AT_ONCE):
        over |= await _follow_some(parts, ours[begin : begin + AT_ONCE], listed, ours)
    return over


async def _listed(parts: EngineParts, kind: CallKind, ours: Sequence[InFlight]) -> _Listed:
    """The newest requests, and all that are in progress where that leaves one of ours out.

    Lists may lag behind, and AWS promises them no order: what they lack is not over for that.
    """
    newest = await _by_id(parts.driver.newest(kind)) or {}
    if all(flight.op.request_id in newest for flight in ours):
        return _Listed(newest, whole=False)
    outstanding = await _by_id(parts.driver.outstanding(kind))
    return _Listed(newest | (outstanding or {}), whole=outstanding is not None)


async def _by_id(asked: Awaitable[list[Request]]) -> dict[str, Request] | None:
    """None where AWS does not answer: each is asked for by itself then."""
    try:
        return {request.request_id: request for request in await asked}
    except DriverError as error:
        log.info("requests cannot be listed", error=str(error))
        return None


async def _follow_some(
    parts: EngineParts, some: Sequence[InFlight], listed: _Listed, ours: Sequence[InFlight]
) -> set[int]:
    """What was found out of each is saved, whatever happens with the others."""
    found: list[tuple[InFlight, Outcome]] = []
    for flight in some:
        try:
            outcome = await _follow(parts, flight, listed, ours)
        except DriverError as error:
            log.info("a request cannot be followed", request=flight.op.request_id, error=str(error))
            continue
        if outcome is not None:
            found.append((flight, outcome))
    return await _save(parts, found)


async def _follow(
    parts: EngineParts, flight: InFlight, listed: _Listed, ours: Sequence[InFlight]
) -> Outcome | None:
    """How it ended, as far as is known; None while it is in progress."""
    request_id = flight.op.request_id
    if request_id is None:
        return await _find(parts, flight, listed, ours)
    request = listed.requests.get(request_id)
    if request is None or request.status == "FAILED":  # a list does not say why
        return await _finish(parts, flight, request_id)
    return await _ended(parts, flight, request)


async def _finish(parts: EngineParts, flight: InFlight, request_id: str) -> Outcome | None:
    """No list tells enough of it: ask for it."""
    try:
        request = await parts.driver.follow(flight.op.kind, request_id)
    except DriverError as error:
        if error.problem is not DriverProblem.NOT_FOUND:
            raise
        return _outcome(parts, None)
    return await _ended(parts, flight, request)


async def _ended(parts: EngineParts, flight: InFlight, request: Request) -> Outcome | None:
    if request.status == "IN_PROGRESS":
        await _check_patience(parts, flight)
        return None
    return _outcome(parts, request)


async def _find(
    parts: EngineParts, flight: InFlight, listed: _Listed, ours: Sequence[InFlight]
) -> Outcome | None:
    """Among the requests in progress whose owner is not known, the one for this assignment.

    AWS's dates are not compared with our clock: the key says what a request is about.
    """
    if not listed.whole:
        return None
    async with parts.context.pool.acquire() as conn:
        [assignment] = await assignments.load(conn, [flight.id])
    wanted = AssignmentKey(assignment.user_id, assignment.account_id, assignment.set_arn or "")
    known = {other.op.request_id for other in ours}
    for request in listed.requests.values():
        if request.status != "IN_PROGRESS" or request.request_id in known:
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


async def _save(parts: EngineParts, found: Sequence[tuple[InFlight, Outcome]]) -> set[int]:
    """Those that have no operation any more."""
    for flight, _ in found:
        await parts.context.alerts.clear(f"operation/{flight.op.request_id}")
    if not found:
        return set()
    return await parts.save_outcomes({flight.id: (flight.op, outcome) for flight, outcome in found})


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
