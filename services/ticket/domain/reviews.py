"""What a review's outcome does to a ticket. Approval's word is no proof: content and votes are checked here.

An approval that does not hold changes nothing and alerts; what it is about stays pending and times out.
"""

from datetime import datetime

from services.ticket.domain import extensions
from services.ticket.domain.transition import settle, transition, with_grants, with_targets
from shared.contracts.approval import ReviewApproved, ReviewFact, ReviewRejected
from shared.contracts.change import Alert, Change, Origin
from shared.contracts.extension import ExtensionState
from shared.contracts.subject import ApprovalSubject, SubjectKind
from shared.contracts.ticket import GrantState, TargetState, Ticket, TicketApproved, TicketRejected
from shared.policy.approvals import approval_problem
from shared.policy.snapshot import Snapshot


def waiting(ticket: Ticket, review: ReviewFact) -> ApprovalSubject | None:
    """The subject that waits for this outcome; None for a stale one: decided already, or another revision."""
    target = ticket.target(review.target_id)
    if target is None or target.revision != review.revision:
        return None
    if review.subject_kind is SubjectKind.TARGET:
        waits = target.state is TargetState.PENDING and target.subject_id == review.subject_id
        return ticket.subject_of(target) if waits else None
    extension = ticket.extension(review.subject_id)
    if extension is None or extension.target_id != target.id or extension.state is not ExtensionState.PENDING:
        return None
    return ticket.extension_subject(extension)


def is_as_asked(subject: ApprovalSubject, review: ReviewApproved) -> bool:
    """The window follows from what was asked and when it was approved, and the hash from our own content."""
    window = subject.window_at(review.at)
    if window is None or window != review.window:
        return False
    return subject.content_hash(window) == review.content_hash


def why_invalid(
    subject: ApprovalSubject, review: ReviewApproved, snapshot: Snapshot, *, now: datetime
) -> str | None:
    """Why the votes are not enough by this service's own documents; None when they are."""
    return approval_problem(
        snapshot,
        votes=review.votes,
        auto_approved_by=review.auto_approved_by,
        parties=subject.parties,
        account_id=subject.account_id,
        set_id=subject.set_id,
        duration=subject.length,
        now=now,
    )


def approve(
    ticket: Ticket, subject: ApprovalSubject, review: ReviewApproved, origin: Origin
) -> Change[Ticket]:
    """What waited is approved for the review's window."""
    if extension := ticket.extension(subject.id):
        return extensions.approve(ticket, extension, review, origin)
    return _approve_target(ticket, subject.target_id, review, origin)


def _approve_target(ticket: Ticket, target_id: str, review: ReviewApproved, origin: Origin) -> Change[Ticket]:
    """Its grants are scheduled, each with its end."""
    changed = with_targets(
        ticket, {target_id}, state=TargetState.APPROVED, window=review.window, decided_at=review.at
    )
    grants = {grant.id for grant in ticket.grants_of(target_id)}
    changed = with_grants(changed, grants, state=GrantState.SCHEDULED, ends_at=review.window.ends_at)
    return transition(changed, TicketApproved, origin, targets=[target_id], content_hash=review.content_hash)


def reject(
    ticket: Ticket, subject: ApprovalSubject, review: ReviewRejected, origin: Origin
) -> Change[Ticket]:
    """What waited is refused."""
    if extension := ticket.extension(subject.id):
        return extensions.reject(ticket, extension, review, origin)
    changed = settle(ticket, [subject.target_id], TargetState.REJECTED, at=review.at)
    return transition(changed, TicketRejected, origin, targets=[subject.target_id])


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
        "approval service or its topic may be forged. What was asked for stays pending and times out",
    )
    return Change(ticket, alerts=(alert,))


def _named(review: ReviewApproved) -> str:
    about = f"review {review.review_id} of ticket {review.ticket_id}, target {review.target_id}"
    return about if review.subject_kind is SubjectKind.TARGET else f"{about}, extension {review.subject_id}"
