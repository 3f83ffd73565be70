"""A person's vote on a review: under the ticket's lock, through the guards, counted and published at once."""

from dataclasses import dataclass

from services.approval.commands.stages import open_next_stage
from services.approval.domain import eligibility
from services.approval.domain.lifecycle import outdated
from services.approval.domain.review import Review
from services.approval.domain.votes import Ballot, Verdict, guard, verb_now, vote
from services.approval.store import reviews
from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.event import Revisions
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import Conflict, Denied, NotFound, PreconditionFailed
from shared.http.access import Caller
from shared.policy.snapshot import Snapshot


@dataclass(frozen=True)
class Decision:
    """What was asked for, on which version of the review."""

    verdict: Verdict
    comment: str
    expected: int
    """The version the person has read."""


async def decide(
    context: Context, work: UnitOfWork, caller: Caller, review_id: str, decision: Decision
) -> Review:
    """Cast one vote, the last of the review that is answered.

    A second one at the same time waits for the first and then sees it.
    """
    origin = caller.origin(context.clock.now())
    found = await reviews.lock_review(work.conn, review_id)
    snapshot = context.policy.snapshot(purpose="write")
    review = _visible(snapshot, caller, found, origin)
    guard(review, caller.user_id, origin.at)
    _check_rules(context, snapshot, review)
    electorate = eligibility.electorate_of(snapshot, review.stages, review.subject, origin.at)
    counted = vote(
        review,
        _ballot(caller, decision, snapshot.revisions),
        eligibility.ask(snapshot, review, caller.user_id, origin.at),
        electorate,
        origin,
    )
    # Last, as RFC 9110 (13.2.1) has it: what would be refused anyway is refused with its own reason.
    _check_version(review, decision)
    change = await open_next_stage(work, counted, electorate, origin)
    await reviews.save(work, review, change)
    return change.state


def _visible(snapshot: Snapshot, caller: Caller, review: Review | None, origin: Origin) -> Review:
    """The review, or NotFound where there is none or it is none of this person's business."""
    if review is not None and eligibility.may_see(snapshot, review, caller.user_id, origin.at):
        return review
    denied = None
    if review is not None:
        verb = verb_now(review) if review.stage else "ticket.read"
        denied = Denied(verb, review.ticket_id, object_id=review.id)
    raise NotFound("there is no such review, or it is not yours to see", code="review_unknown", denied=denied)


def _check_rules(context: Context, snapshot: Snapshot, review: Review) -> None:
    """A vote counts under the rules of now: what they no longer ask for is reopened, not voted on."""
    for wanted, decided_at in review.decided_on:
        context.policy.snapshot(wanted, decided_at=decided_at)
    if outdated(review, eligibility.rules_now(snapshot, review.subject)):
        raise Conflict(
            "the approval rules have just changed; the review is being opened again under the new ones",
            code="state",
        )


def _check_version(review: Review, decision: Decision) -> None:
    if decision.expected != review.version:
        raise PreconditionFailed(
            f"the review is at version {review.version} and you have read {decision.expected}: "
            "look at it again before you decide",
            code="review_changed",
        )


def _ballot(caller: Caller, decision: Decision, revisions: Revisions) -> Ballot:
    return Ballot(
        id=new_id(),
        voter=caller.person,
        verdict=decision.verdict,
        comment=decision.comment.strip(),
        revisions=revisions,
    )
