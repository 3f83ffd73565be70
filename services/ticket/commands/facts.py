"""What other services report, applied to tickets: reviews' outcomes and what became of access."""

from datetime import datetime, timedelta
from typing import Any, Final

from services.ticket import store
from services.ticket.commands.telling import Origin, say
from services.ticket.domain import life
from shared.context import Context
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewApproved, ReviewRejected
from shared.contracts.ticket import TargetState, Ticket, TicketApproved, TicketRejected
from shared.contracts.witness import resolve_window, ticket_content_hash
from shared.database.pool import transaction
from shared.foundation.errors import NotReady
from shared.messaging import inbox
from shared.messaging.envelope import Received
from shared.policy.approvals import duration_asked, unmet

PATIENCE: Final = timedelta(minutes=1)
"""How long an approval waits for the documents it says it was decided on; a forged one may name any."""


async def approve(context: Context, received: Received[ReviewApproved]) -> None:
    """A review approved a target: what was asked for here, by votes that are enough by the policy here.

    Raises NotReady, to be tried again, while the documents here are not complete or too old to tell.
    """
    now = context.clock.now()
    event = received.event
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=now):
            return
        ticket = await store.load(conn, event.ticket_id)
        if ticket is None or not life.is_open(ticket, event.target_id, event.revision):
            return
        if not _is_what_was_asked(ticket, event):
            await _refuse_content(context, event)
            return
        if why := _does_not_hold(context, ticket, event, now):
            await _refuse_votes(context, event, why)
            return
        changed = life.approve(ticket, event.target_id, window=event.window, at=event.at)
        origin = Origin(event.actor, received.id, now, event.why)
        await say(
            conn,
            changed,
            TicketApproved,
            origin,
            targets=[event.target_id],
            content_hash=event.content_hash,
        )


def _is_what_was_asked(ticket: Ticket, event: ReviewApproved) -> bool:
    """The window follows from what was asked and when it was approved, and the hash from our own content."""
    target = life.target_of(ticket, event.target_id)
    window = resolve_window(ticket.asked, event.at)
    if target is None or window is None or window != event.window:
        return False
    return ticket_content_hash(ticket, target, window) == event.content_hash


def _does_not_hold(context: Context, ticket: Ticket, event: ReviewApproved, now: datetime) -> str | None:
    """Why the votes are not enough by this service's own documents; the approval's word is no proof."""
    context.tables.require_ready()
    if not context.world.covers(event.revisions) and abs(now - event.at) < PATIENCE:
        raise NotReady(
            "policy and inventory are older here than where this was approved; it is tried again",
            code="tables_behind",
        )
    target = life.target_of(ticket, event.target_id)
    assert target is not None, "life.is_open has found it"  # noqa: S101
    return unmet(
        context.world,
        votes=event.votes,
        auto_approved_by=event.auto_approved_by,
        parties=life.parties(ticket),
        account_id=target.account_id,
        set_id=target.set_id,
        duration=duration_asked(ticket.asked, submitted_at=ticket.submitted_at),
        now=now,
    )


async def _refuse_votes(context: Context, event: ReviewApproved, why: str) -> None:
    await context.alerts.raise_alert(
        key=f"approval_unmet/{event.review_id}",
        summary="an approval without the votes it needs was not honoured",
        detail=f"review {event.review_id} of ticket {event.ticket_id}, target {event.target_id}: {why}; "
        "a voter lost the right or a rule changed just then, or the approval service or its topic "
        "may be forged. The target stays pending and times out",
        once=True,
    )


async def _refuse_content(context: Context, event: ReviewApproved) -> None:
    await context.alerts.raise_alert(
        key=f"approval_mismatch/{event.review_id}",
        summary="an approval does not fit its ticket and was not honoured",
        detail=f"review {event.review_id} of ticket {event.ticket_id}, target {event.target_id}: "
        "content or window differ from what was asked; the approval service or its topic may be forged",
        once=True,
    )


async def reject(context: Context, received: Received[ReviewRejected]) -> None:
    now = context.clock.now()
    event = received.event
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=now):
            return
        ticket = await store.load(conn, event.ticket_id)
        if ticket is None or not life.is_open(ticket, event.target_id, event.revision):
            return
        changed = life.settle(ticket, [event.target_id], TargetState.REJECTED, at=event.at)
        origin = Origin(event.actor, received.id, now, event.why or event.code)
        await say(conn, changed, TicketRejected, origin, targets=[event.target_id])


async def note_access(context: Context, received: Received[Any]) -> None:
    """An access fact moves its grant forward; nothing is published, the fact itself is the news."""
    now = context.clock.now()
    event: AccessFact = received.event
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=now):
            return
        ticket = await store.load(conn, event.ticket_id)
        if ticket is None:
            return
        changed = life.apply_access(ticket, event)
        if changed is not None:
            await store.save(conn, life.next_version(changed))
