"""What a review's outcome does to a ticket. Approval's word is no proof: content and votes are checked here.

An approval that does not hold changes nothing and alerts; its target stays pending and times out.
"""

from datetime import datetime, timedelta

from services.ticket.domain.transition import settle, transition, with_grants, with_targets
from shared.contracts.approval import ReviewApproved, ReviewFact, ReviewRejected
from shared.contracts.change import Alert, Change, Origin
from shared.contracts.ticket import (
    GrantState,
    Target,
    TargetState,
    Ticket,
    TicketApproved,
    TicketRejected,
)
from shared.contracts.witness import ticket_content_hash
from shared.policy.approvals import unmet
from shared.policy.snapshot import Snapshot


def waiting_target(ticket: Ticket, review: ReviewFact) -> Target | None:
    """The target that waits for this outcome; None for a stale one: decided already, or another revision."""
    target = ticket.target(review.target_id)
    if target is None or target.state is not TargetState.PENDING or target.revision != review.revision:
        return None
    return target


def is_as_asked(ticket: Ticket, target: Target, review: ReviewApproved) -> bool:
    """The window follows from what was asked and when it was approved, and the hash from our own content."""
    window = ticket.asked.window_at(review.at)
    if window is None or window != review.window:
        return False
    return ticket_content_hash(ticket, target, window) == review.content_hash


def why_invalid(
    ticket: Ticket, target: Target, review: ReviewApproved, snapshot: Snapshot, *, now: datetime
) -> str | None:
    """Why the votes are not enough by this service's own documents; None when they are."""
    return unmet(
        snapshot,
        votes=review.votes,
        auto_approved_by=review.auto_approved_by,
        parties=ticket.parties,
        account_id=target.account_id,
        set_id=target.set_id,
        # Without a length, against the contract, the longest: it lets nothing through by itself.
        duration=ticket.asked.length_from(ticket.submitted_at) or timedelta.max,
        now=now,
    )


def approve(ticket: Ticket, target: Target, review: ReviewApproved, origin: Origin) -> Change[Ticket]:
    """The target is approved for the review's window: its grants are scheduled."""
    changed = with_targets(
        ticket, {target.id}, state=TargetState.APPROVED, window=review.window, decided_at=review.at
    )
    grants = {grant.id for grant in ticket.grants_of(target.id)}
    changed = with_grants(changed, grants, state=GrantState.SCHEDULED)
    return transition(changed, TicketApproved, origin, targets=[target.id], content_hash=review.content_hash)


def reject(ticket: Ticket, target: Target, review: ReviewRejected, origin: Origin) -> Change[Ticket]:
    changed = settle(ticket, [target.id], TargetState.REJECTED, at=review.at)
    return transition(changed, TicketRejected, origin, targets=[target.id])


def refuse_content(ticket: Ticket, review: ReviewApproved) -> Change[Ticket]:
    """An approval of something else than was asked: nothing changes."""
    alert = Alert(
        key=f"approval_mismatch/{review.review_id}",
        summary="an approval does not fit its ticket and was not honoured",
        detail=f"{_named(review)}: content or window differ from what was asked; the approval service or "
        "its topic may be forged",
    )
    return Change(ticket, alerts=(alert,))


def refuse_votes(ticket: Ticket, review: ReviewApproved, why: str) -> Change[Ticket]:
    """An approval without the votes it needs: nothing changes."""
    alert = Alert(
        key=f"approval_invalid/{review.review_id}",
        summary="an approval without the votes it needs was not honoured",
        detail=f"{_named(review)}: {why}; a voter lost the right or a rule changed just then, or the "
        "approval service or its topic may be forged. The target stays pending and times out",
    )
    return Change(ticket, alerts=(alert,))


def _named(review: ReviewApproved) -> str:
    return f"review {review.review_id} of ticket {review.ticket_id}, target {review.target_id}"
