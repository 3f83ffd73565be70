"""What ticket and approval say becomes claims: an approval and its witness, in whichever order they come.

Only stores. Granting is the engine's, after its own re-check; a stop that came first is found here.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from services.provisioner.domain import claims as claim_life
from services.provisioner.domain.claims import Claim, ClaimState, Said, Stamp
from services.provisioner.domain.rechecks import (
    NotYet,
    Passed,
    Refused,
    Verdict,
    Witness,
    approval_verdict,
    content_of,
    witness_verdict,
)
from services.provisioner.reconcile.tools import policy_ready
from services.provisioner.store import assignments, claims, witnesses
from shared.context import Context
from shared.contracts.approval import ReviewApproved
from shared.contracts.ticket import Target, TicketApproved, Window
from shared.database.pool import Conn, transaction
from shared.messaging import inbox
from shared.messaging.envelope import Received
from shared.observability.logs import logger
from shared.policy.approvals import duration_asked

_LONGEST: Final = timedelta(days=36500)
"""What the database can hold; no rule goes as far."""

log = logger("intents")


async def take_approval(
    context: Context, nudge: Callable[[], None], received: Received[TicketApproved]
) -> None:
    """Store a claim with its end for every grant of the approved targets."""
    event = received.event
    refused: list[Claim] = []
    async with transaction(context.pool) as conn:
        now = context.clock.now()
        if not await inbox.first_time(conn, received, now=now):
            return
        await witnesses.lock_ticket(conn, event.ticket.id)
        for target in event.ticket.targets:
            if event.target_ids and target.id not in event.target_ids:
                continue
            if target.window is None or target.window.ends_at <= target.window.starts_at:
                log.error("approved without a window", ticket=event.ticket.id, target=target.id)
                continue
            stamp = Stamp(now, context.actor, received.id)
            await _store_target(conn, event, target, target.window, stamp=stamp)
            refused += await _judge(context, conn, event.ticket.id, target.id, stamp)
    await _alert(context, refused)
    nudge()


async def take_witness(
    context: Context, nudge: Callable[[], None], received: Received[ReviewApproved]
) -> None:
    """Keep approval's own word about a target, and judge the claims that waited for it."""
    event = received.event
    async with transaction(context.pool) as conn:
        now = context.clock.now()
        if not await inbox.first_time(conn, received, now=now):
            return
        await witnesses.lock_ticket(conn, event.ticket_id)
        await witnesses.insert_witness(
            conn,
            _witness(event),
            ticket_id=event.ticket_id,
            target_id=event.target_id,
            revision=event.revision,
            event_id=received.id,
            now=now,
        )
        stamp = Stamp(now, context.actor, received.id)
        refused = await _judge(context, conn, event.ticket_id, event.target_id, stamp)
    await _alert(context, refused)
    nudge()


def _witness(event: ReviewApproved) -> Witness:
    return Witness(
        content_hash=event.content_hash,
        votes=event.votes,
        auto_approved_by=event.auto_approved_by,
        revisions=event.revisions,
        approved_at=event.at,
    )


async def _store_target(
    conn: Conn, event: TicketApproved, target: Target, window: Window, *, stamp: Stamp
) -> None:
    """One claim per grant of the target; one whose stop came first is over as soon as it is stored."""
    ticket = event.ticket
    grants = sorted(
        (grant for grant in ticket.grants if grant.target_id == target.id),
        key=lambda grant: grant.beneficiary,
    )
    for grant in grants:
        assignment_id = await assignments.ensure_assignment(
            conn,
            instance=ticket.instance,
            user_id=grant.beneficiary,
            account_id=target.account_id,
            set_id=target.set_id,
        )
        claim = Claim(
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
            received_at=stamp.at,
            parties=tuple({ticket.requester.user_id, *(person.user_id for person in ticket.beneficiaries)}),
            duration_asked=min(duration_asked(ticket.asked, submitted_at=ticket.submitted_at), _LONGEST),
            cause=stamp.cause,
        )
        if await claims.insert_claim(conn, claim):
            await _apply_stop(conn, claim, stamp)


async def _apply_stop(conn: Conn, claim: Claim, stamp: Stamp) -> None:
    stop = await witnesses.find_stop(conn, grant_id=claim.id, ticket_id=claim.ticket_id)
    if stop is not None:
        by_whom = Stamp(stamp.at, stop.actor, stamp.cause)
        said = claim_life.end(claim, by_whom, cause=stop.cause, why=stop.why)
        await claims.save_said(conn, [said], loaded=[claim])


async def _judge(context: Context, conn: Conn, ticket_id: str, target_id: str, stamp: Stamp) -> list[Claim]:
    """Schedule or refuse the waiting claims of a target, if approval has been heard; returns the refused.

    Votes that cannot be weighed yet, since the policy is not ready here, are weighed before the grant.
    """
    siblings = await claims.claims_of_target(conn, ticket_id=ticket_id, target_id=target_id)
    await assignments.lock_assignments(conn, [claim.assignment_id for claim in siblings])
    siblings = await claims.claims_of_target(conn, ticket_id=ticket_id, target_id=target_id)
    said: list[Said] = []
    for claim in siblings:
        if claim.state is not ClaimState.WAITING:
            continue
        witness = await witnesses.find_witness(
            conn, ticket_id=ticket_id, target_id=target_id, revision=claim.revision
        )
        same = witness_verdict(
            witness=witness.content_hash if witness else None,
            said=claim.content_hash,
            content=content_of(claim, siblings),
        )
        if isinstance(same, NotYet):
            continue
        holds = approval_verdict(
            claim, witness, context.world, parties=[one.user_id for one in siblings],
            ready=policy_ready(context), now=stamp.at,
        )  # fmt: skip
        said.append(_judged(claim, same, holds, stamp))
    await claims.save_said(conn, said, loaded=siblings)
    await _make_due(conn, [claim for claim, _ in said if claim.state is ClaimState.SCHEDULED])
    return [claim for claim, _ in said if claim.state is ClaimState.FAILED]


def _judged(claim: Claim, same: Verdict, holds: Verdict, stamp: Stamp) -> Said:
    for verdict in (same, holds):
        if isinstance(verdict, Refused):
            return claim_life.refuse(claim, stamp, code=verdict.code, detail=verdict.detail)
    return claim_life.schedule(claim, stamp, approval_holds=isinstance(holds, Passed))


async def _make_due(conn: Conn, scheduled: Sequence[Claim]) -> None:
    for claim in scheduled:
        await assignments.make_due(conn, claim.assignment_id, at=claim.starts_at)


async def _alert(context: Context, refused: Sequence[Claim]) -> None:
    """Somebody, or something broken, asked for what nobody approved."""
    for claim in refused:
        await context.alerts.raise_alert(
            key=f"{claim.code}/{claim.target_id}",
            summary="a grant was asked for that the approval service did not approve",
            detail=f"ticket {claim.ticket_id}, target {claim.target_id}, user {claim.user_id}: "
            f"{claim.detail}",
            once=True,
        )
