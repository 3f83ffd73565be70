"""What ticket and approval say becomes claims: an approval and its witness, in whichever order they come.

Only stores. Granting is the engine's, after its own re-check; a stop that came first is found here.
Extensions that waited for either are carried out in the same transaction (extensions.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.provisioner.commands.extensions import judge_extensions
from services.provisioner.domain import judging
from services.provisioner.domain.assignments import Assignment, end_claims, receive
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.rechecks import Witness
from services.provisioner.store import assignments, claims, extensions, stops, witnesses
from shared.context import Context
from shared.contracts.approval import ReviewApproved
from shared.contracts.change import Change, Origin
from shared.contracts.subject import SubjectKind
from shared.contracts.ticket import Grant, Target, TicketApproved
from shared.contracts.windows import Window
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received
from shared.observability.logs import logger

_LONGEST: Final = timedelta(days=36500)
"""What the database can hold; no rule goes as far."""

log = logger("approvals")


async def lock_tickets(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """What the commands below ask of each ticket first, for all of a batch."""
    await witnesses.lock_tickets(work, ticket_ids)
    await extensions.find_waiting(work, ticket_ids)


async def record_approval(context: Context, work: UnitOfWork, received: Received[TicketApproved]) -> None:
    """Store a claim with its end for every grant of the approved targets."""
    event, conn = received.event, work.conn
    await witnesses.lock_tickets(work, [event.ticket.id])
    await stops.let_claims_come(work)
    extended = await extensions.any_waiting(work, event.ticket.id)
    origin = context.origin(received)
    approved = _with_windows(event)
    pairs = [(grant, target) for target in approved for grant in event.ticket.grants_of(target.id)]
    known = {key.id: key for key in await claims.keys(conn, [grant.id for grant, _ in pairs])}
    new = await _new_claims(conn, event, [pair for pair in pairs if pair[0].id not in known], origin)
    wanted = [key.assignment_id for key in known.values()] + [claim.assignment_id for claim in new]
    locked = await _lock(conn, event.ticket.id, wanted, extended=extended)
    origin = context.origin(received)
    changes = {assignment.id: Change(assignment) for assignment in locked.values()}
    submitted = {target.id: target.submitted_at for target in approved}
    for claim in new:
        key, submitted_at = claim.assignment_id, submitted[claim.target_id]
        changes[key] = await _with_claim(work, changes[key], claim, submitted_at, origin, extended=extended)
    for target in approved:
        siblings = [claim for claim in new if claim.subject_id == target.subject_id]
        changes = await _judged(context, conn, changes, target.subject_id, siblings, origin)
    await _save(work, locked, changes)
    if extended:
        await judge_extensions(context, work, event.ticket.id, cause=received.id)
    work.after_commit(partial(context.nudge, *locked))


async def record_witness(context: Context, work: UnitOfWork, received: Received[ReviewApproved]) -> None:
    """Keep approval's own word about a subject, and judge the claims and extensions that waited for it."""
    event, conn = received.event, work.conn
    await witnesses.lock_tickets(work, [event.ticket_id])
    extended = await extensions.any_waiting(work, event.ticket_id)
    await witnesses.insert_witness(
        conn,
        _witness(event),
        kind=event.subject_kind,
        subject_id=event.subject_id,
        ticket_id=event.ticket_id,
        event_id=received.id,
        now=context.clock.now(),
    )
    if event.subject_kind is SubjectKind.TARGET and (
        wanted := await claims.assignments_of_subject(conn, event.subject_id)
    ):
        locked = await _lock(conn, event.ticket_id, wanted, extended=extended)
        unchanged = {assignment.id: Change(assignment) for assignment in locked.values()}
        origin = context.origin(received)
        await _save(work, locked, await _judged(context, conn, unchanged, event.subject_id, [], origin))
        work.after_commit(partial(context.nudge, *locked))
    if extended:
        await judge_extensions(context, work, event.ticket_id, cause=received.id)


async def _lock(
    conn: Conn, ticket_id: str, wanted: Sequence[int], *, extended: bool
) -> dict[int, Assignment]:
    """With those that the ticket's extensions will need: locks are taken once, in one order."""
    keys = await extensions.claims_waited_for(conn, ticket_id) if extended else []
    found = await assignments.lock(conn, [*wanted, *(key.assignment_id for key in keys)])
    return {assignment.id: assignment for assignment in found}


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
    ticket, subject = event.ticket, event.ticket.subject_of(target)
    return Claim(
        id=grant.id,
        assignment_id=assignment_id,
        instance=ticket.instance,
        ticket_id=ticket.id,
        target_id=target.id,
        revision=target.revision,
        subject_id=subject.id,
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
        parties=tuple(sorted(subject.parties)),
        duration_asked=min(subject.length, _LONGEST),
        cause=origin.cause,
    )


async def _with_claim(
    work: UnitOfWork,
    change: Change[Assignment],
    claim: Claim,
    submitted_at: datetime,
    origin: Origin,
    *,
    extended: bool,
) -> Change[Assignment]:
    """With a new claim; one whose stop came first is over as soon as it is there.

    `submitted_at` is ticket's signed word for when its target was asked for in this revision.
    """
    if extended:
        claim = replace(claim, extensions=await extensions.waiting_for(work.conn, claim))
    change = change.then(receive(change.state, claim))
    stop = await stops.find(
        work.conn,
        grant_id=claim.id,
        ticket_id=claim.ticket_id,
        user_id=claim.user_id,
        account_id=claim.account_id,
        submitted_at=submitted_at,
    )
    if stop is not None:
        by_whom = origin.by(stop.actor).because(stop.why)
        change = change.then(end_claims(change.state, [claim], by_whom, cause=stop.cause))
    return change


async def _judged(
    context: Context,
    conn: Conn,
    changes: Mapping[int, Change[Assignment]],
    subject_id: str,
    new: Sequence[Claim],
    origin: Origin,
) -> dict[int, Change[Assignment]]:
    """With what becomes of the claims of one target; those of `new` are not stored yet."""
    snapshot = context.policy.snapshot_if_ready(purpose="write")
    stored, witness = await witnesses.approved_together(conn, subject_id)
    siblings = sorted([*stored, *new], key=lambda claim: claim.id)
    return {
        key: change.then(judging.judge(change.state, siblings, witness, snapshot, origin=origin))
        for key, change in changes.items()
    }


async def _save(
    work: UnitOfWork, locked: Mapping[int, Assignment], changes: Mapping[int, Change[Assignment]]
) -> None:
    for key, change in changes.items():
        await assignments.save(work, locked[key], change)
