"""What the approval service reports: a review's outcome, applied to its ticket."""

from services.ticket.domain import reviews
from services.ticket.store import tickets as store
from shared.context import Context
from shared.contracts.approval import ReviewApproved, ReviewFact, ReviewRejected
from shared.contracts.change import Origin
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Ticket
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received
from shared.policy.snapshot import is_to_come


async def approve(context: Context, work: UnitOfWork, received: Received[ReviewApproved]) -> None:
    """A review approved what was asked for here, by votes that are enough by the policy here.

    Raises NotReady, to be tried again, while the documents here are not complete, stale, refused, or older
    than those it was decided on.
    """
    review, now = received.event, context.clock.now()
    if (found := await _waiting(work, review)) is None:
        return
    ticket, subject = found
    if not reviews.is_as_asked(subject, review):
        change = reviews.refuse_content(ticket, review)
    elif is_to_come(review.at, now=now):
        change = reviews.refuse_votes(
            ticket, review, f"it says it was decided at {review.at}, later than now"
        )
    else:
        snapshot = context.policy.snapshot(review.revisions, decided_at=review.at, purpose="write")
        if why := reviews.why_invalid(subject, review, snapshot, now=now):
            change = reviews.refuse_votes(ticket, review, why)
        else:
            change = reviews.approve(ticket, subject, review, _origin(context, received))
    await store.save(work, ticket, change)


async def reject(context: Context, work: UnitOfWork, received: Received[ReviewRejected]) -> None:
    review = received.event
    if (found := await _waiting(work, review)) is None:
        return
    ticket, subject = found
    origin = _origin(context, received)
    change = reviews.reject(ticket, subject, review, origin.because(review.why or review.code))
    await store.save(work, ticket, change)


async def _waiting(work: UnitOfWork, review: ReviewFact) -> tuple[Ticket, ApprovalSubject] | None:
    """The ticket, locked, and its subject that waits for this outcome; None for a stale one."""
    ticket = await store.load(work, review.ticket_id)
    subject = None if ticket is None else reviews.waiting(ticket, review)
    return None if ticket is None or subject is None else (ticket, subject)


def _origin(context: Context, received: Received[ReviewApproved] | Received[ReviewRejected]) -> Origin:
    return context.origin(received, why=received.event.why).by(received.event.actor)
