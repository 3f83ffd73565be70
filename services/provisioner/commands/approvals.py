"""What ticket and approval say becomes claims: an approval and its witness, in whichever order they come.

Only stores. Granting is the engine's, after its own re-check; a stop that came first is found here.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from services.provisioner.commands.rechecks import granting_snapshot
from services.provisioner.domain import judging
from services.provisioner.domain.assignments import Assignment, end_claims, receive
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.rechecks import Witness
from services.provisioner.store import assignments, claims, witnesses
from shared.context import Context
from shared.contracts.approval import ReviewApproved
from shared.contracts.change import Change, Origin
from shared.contracts.ticket import Grant, Target, TicketApproved, Window
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received
from shared.observability.logs import logger

_LONGEST: Final = timedelta(days=36500)
"""What the database can hold; no rule goes as far."""

log = logger("approvals")


async def record_approval(context: Context, work: UnitOfWork, received: Received[TicketApproved]) -> None:
    """Store a claim with its end for every grant of the approved targets."""
    event, conn = received.event, work.conn
    origin = Origin(context.actor, context.clock.now(), received.id)
    await witnesses.lock_ticket(conn, event.ticket.id)
    approved = _with_windows(event)
    pairs = [(grant, target) for target in approved for grant in event.ticket.grants_of(target.id)]
    known = {key.id: key for key in await claims.keys(conn, [grant.id for grant, _ in pairs])}
    new = await _new_claims(conn, event, [pair for pair in pairs if pair[0].id not in known], origin)
    wanted = [key.assignment_id for key in known.values()] + [claim.assignment_id for claim in new]
    locked = {assignment.id: assignment for assignment in await assignments.lock(conn, wanted)}
    for claim in new:
        locked[claim.assignment_id] = await _add(work, locked[claim.assignment_id], claim, origin)
    for target in approved:
        await _judge(context, work, locked, (event.ticket.id, target.id), origin)
    work.after_commit(context.nudge)


async def record_witness(context: Context, work: UnitOfWork, received: Received[ReviewApproved]) -> None:
    """Keep approval's own word about a target, and judge the claims that waited for it."""
    event, conn = received.event, work.conn
    origin = Origin(context.actor, context.clock.now(), received.id)
    await witnesses.lock_ticket(conn, event.ticket_id)
    await witnesses.insert_witness(
        conn,
        _witness(event),
        ticket_id=event.ticket_id,
        target_id=event.target_id,
        revision=event.revision,
        event_id=received.id,
        now=origin.at,
    )
    siblings = await claims.of_target(conn, ticket_id=event.ticket_id, target_id=event.target_id)
    found = await assignments.lock(conn, [claim.assignment_id for claim in siblings])
    locked = {assignment.id: assignment for assignment in found}
    await _judge(context, work, locked, (event.ticket_id, event.target_id), origin)
    work.after_commit(context.nudge)


def _with_windows(event: TicketApproved) -> list[Target]:
    found = []
    for target in event.targets:
        if target.window is None or target.window.length <= timedelta(0):
            log.error("approved without a window", ticket=event.ticket.id, target=target.id)
        else:
            found.append(target)
    return found


def _witness(event: ReviewApproved) -> Witness:
    return Witness(
        content_hash=event.content_hash,
        votes=event.votes,
        auto_approved_by=event.auto_approved_by,
        revisions=event.revisions,
        approved_at=event.at,
    )


async def _new_claims(
    conn: Conn, event: TicketApproved, pairs: Sequence[tuple[Grant, Target]], origin: Origin
) -> list[Claim]:
    """One per grant. Tuples are made in one order, so that nobody waits in a circle."""
    new = []
    for grant, target in sorted(pairs, key=_tuple_of):
        assignment_id = await assignments.ensure(
            conn,
            instance=event.ticket.instance,
            user_id=grant.beneficiary,
            account_id=target.account_id,
            set_id=target.set_id,
        )
        if target.window is not None:
            new.append(_claim(event, grant, target, target.window, assignment_id, origin))
    return new


def _tuple_of(pair: tuple[Grant, Target]) -> tuple[str, str, str]:
    grant, target = pair
    return grant.beneficiary, target.account_id, target.set_id


def _claim(
    event: TicketApproved,
    grant: Grant,
    target: Target,
    window: Window,
    assignment_id: int,
    origin: Origin,
) -> Claim:
    ticket = event.ticket
    return Claim(
        id=grant.id,
        assignment_id=assignment_id,
        instance=ticket.instance,
        ticket_id=ticket.id,
        target_id=target.id,
        revision=target.revision,
        user_id=grant.beneficiary,
        account_id=target.account_id,
        set_id=target.set_id,
        set_digest=target.set_digest,
        content_hash=event.content_hash,
        session_duration=target.session_duration,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        state=ClaimState.WAITING,
        received_at=origin.at,
        parties=tuple(sorted(ticket.parties)),
        duration_asked=min(ticket.asked.length_from(ticket.submitted_at) or _LONGEST, _LONGEST),
        cause=origin.cause,
    )


async def _add(work: UnitOfWork, before: Assignment, claim: Claim, origin: Origin) -> Assignment:
    """Store a new claim; one whose stop came first is over as soon as it is stored."""
    change: Change[Assignment] = receive(before, claim)
    stop = await witnesses.find_stop(work.conn, grant_id=claim.id, ticket_id=claim.ticket_id)
    if stop is not None:
        by_whom = origin.by(stop.actor).because(stop.why)
        change = change.then(end_claims(change.state, [claim], by_whom, cause=stop.cause))
    await assignments.save(work, before, change)
    return change.state


async def _judge(
    context: Context,
    work: UnitOfWork,
    locked: dict[int, Assignment],
    target: tuple[str, str],
    origin: Origin,
) -> None:
    """`target` is (ticket, target); what is `locked` is kept as it is after this."""
    snapshot = granting_snapshot(context)
    ticket_id, target_id = target
    siblings = await claims.of_target(work.conn, ticket_id=ticket_id, target_id=target_id)
    found = await witnesses.find_witnesses(work.conn, ticket_id=ticket_id, target_id=target_id)
    for before in list(locked.values()):
        change = judging.judge(before, siblings, found, snapshot, origin=origin)
        await assignments.save(work, before, change)
        locked[before.id] = change.state
