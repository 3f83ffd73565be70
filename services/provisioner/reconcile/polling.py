"""What became of our operations: one list call for all of them, then one look at each that has ended.

An operation whose request id was lost (a crash, a connection that broke off) is looked for among those
in progress; what cannot be found is forgotten, and the next visit reads AWS and acts on what is there.
"""

from collections.abc import Sequence
from datetime import timedelta

from services.provisioner.domain import operations
from services.provisioner.domain.assignments import Assignment, OpKind
from services.provisioner.identity_center import AssignmentKey, IdentityCenterError, Operation, Problem
from services.provisioner.reconcile.tools import Tools
from services.provisioner.store import assignments
from services.provisioner.store.assignments import InFlight
from services.provisioner.store.lease import fence
from shared.database.pool import transaction

_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""AWS's creation dates are by AWS's clock, and whole seconds."""


async def poll(tools: Tools, flights: Sequence[InFlight]) -> None:
    """Look after all of these; those a visit is just sending must not be among them."""
    kinds: tuple[OpKind, ...] = ("create", "delete")
    for kind in kinds:
        mine = [flight for flight in flights if flight.op.kind == kind]
        if not mine:
            continue
        try:
            outstanding = await tools.identity_center.outstanding(kind)
            for flight in mine:
                await _follow(tools, flight, outstanding, mine)
        except IdentityCenterError as error:
            tools.note(error)


async def _follow(
    tools: Tools, flight: InFlight, outstanding: Sequence[Operation], mine: Sequence[InFlight]
) -> None:
    request_id = flight.op.request_id
    if request_id is None:
        await _find(tools, flight, outstanding, mine)
    elif any(operation.request_id == request_id for operation in outstanding):
        await _check_patience(tools, flight)
    else:
        await _finish(tools, flight, request_id)


async def _finish(tools: Tools, flight: InFlight, request_id: str) -> None:
    """It is no longer in progress: ask once how it ended."""
    try:
        operation = await tools.identity_center.operation(flight.op.kind, request_id)
    except IdentityCenterError as error:
        if error.problem is not Problem.NOT_FOUND:
            raise
        await _save(tools, flight, None)
        return
    if operation.status == "IN_PROGRESS":
        await _check_patience(tools, flight)
    else:
        await _save(tools, flight, operation)


async def _find(
    tools: Tools, flight: InFlight, outstanding: Sequence[Operation], mine: Sequence[InFlight]
) -> None:
    """Among the newer operations in progress whose owner is not known, the one for this assignment."""
    async with tools.context.pool.acquire() as conn:
        row = await assignments.load_assignment(conn, flight.id)
    wanted = AssignmentKey(row.user_id, row.account_id, row.set_arn or "")
    known = {other.op.request_id for other in mine}
    for operation in outstanding:
        created = operation.created_at
        too_old = created is not None and created < flight.op.started - _CLOCKS_DIFFER_BY
        if operation.request_id in known or too_old:
            continue
        described = await tools.identity_center.operation(flight.op.kind, operation.request_id)
        if described.key == wanted:
            await _save(tools, flight, described)
            return
    await _save(tools, flight, None)


async def _check_patience(tools: Tools, flight: InFlight) -> None:
    """An operation that does not end is waited for, loudly.

    Acting anew would not help: AWS answers with a conflict while it runs. And absence proves nothing as
    long as a creation may still come true.
    """
    if tools.now - flight.op.started < tools.limits.operation_patience:
        return
    await tools.context.alerts.raise_alert(
        key=f"operation/{flight.op.request_id}",
        summary="AWS does not finish an operation",
        detail=f"{flight.op.kind} {flight.op.request_id} on account {flight.account_id}, "
        f"since {flight.op.started:%Y-%m-%d %H:%M:%SZ}; nothing else can be done about this assignment",
    )


async def _save(tools: Tools, flight: InFlight, operation: Operation | None) -> None:
    await tools.context.alerts.clear(f"operation/{flight.op.request_id}")
    async with transaction(tools.context.pool) as conn:
        await fence(conn, epoch=tools.lease.epoch)
        row = await assignments.lock_assignment(conn, flight.id)
        if row.op == flight.op:
            await assignments.save_assignment(conn, _after(tools, row, operation))


def _after(tools: Tools, row: Assignment, operation: Operation | None) -> Assignment:
    if operation is None:
        return operations.forgotten(row, tools.stamp)
    if operation.status == "IN_PROGRESS":
        return operations.accepted(row, operation.request_id, tools.stamp, tools.limits)
    if operation.status == "SUCCEEDED":
        return operations.succeeded(row, tools.stamp)
    return operations.failed(
        row, operation.reason, stamp=tools.stamp, jitter=tools.jitter(), limits=tools.limits
    )
