"""What the approval service reports: a review's outcome, applied to its ticket."""

from datetime import datetime
from typing import Any

from services.ticket import store
from services.ticket.domain import reviews
from shared.context import Context
from shared.contracts.approval import ReviewApproved, ReviewFact, ReviewRejected
from shared.contracts.change import Origin
from shared.contracts.ticket import Target, Ticket
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received


async def approve(context: Context, work: UnitOfWork, received: Received[ReviewApproved]) -> None:
    """A review approved a target: what was asked for here, by votes that are enough by the policy here.

    Raises NotReady, to be tried again, while the documents here are not complete or too old to tell.
    """
    review, now = received.event, context.clock.now()
    if (found := await _waiting(work, review)) is None:
        return
    ticket, target = found
    if not reviews.is_as_asked(ticket, target, review):
        change = reviews.refuse_content(ticket, review)
    else:
        snapshot = context.policy.snapshot(review.revisions, decided_at=review.at)
        if why := reviews.why_invalid(ticket, target, review, snapshot, now=now):
            change = reviews.refuse_votes(ticket, review, why)
        else:
            change = reviews.approve(ticket, target, review, _origin(received, now))
    await store.save(work, ticket, change)


async def reject(context: Context, work: UnitOfWork, received: Received[ReviewRejected]) -> None:
    review = received.event
    if (found := await _waiting(work, review)) is None:
        return
    ticket, target = found
    origin = _origin(received, context.clock.now())
    change = reviews.reject(ticket, target, review, origin.because(review.why or review.code))
    await store.save(work, ticket, change)


async def _waiting(work: UnitOfWork, review: ReviewFact) -> tuple[Ticket, Target] | None:
    """The ticket, locked, and the target that waits for this outcome; None for a stale one."""
    ticket = await store.load(work.conn, review.ticket_id)
    target = None if ticket is None else reviews.waiting_target(ticket, review)
    return None if ticket is None or target is None else (ticket, target)


def _origin(received: Received[Any], now: datetime) -> Origin:
    return Origin(received.event.actor, at=now, cause=received.id, why=received.event.why)
