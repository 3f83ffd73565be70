"""One vote: the guards, in their order, and what follows from it.

Pure. The guards are code and come before the policy, so that no mistyped row can switch them off. The
caller has already made sure that the voter may see the review (commands/decisions.py).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.approval.domain.lifecycle import approve, emit, reject
from services.approval.domain.review import Electorate, Review, ReviewState
from shared.contracts.approval import RejectionCode, ReviewDecided, Vote
from shared.contracts.change import Change, Origin
from shared.contracts.event import Revisions
from shared.contracts.people import Person
from shared.foundation.errors import Conflict, Denied, FieldError, Forbidden, Invalid
from shared.policy.row import RECENTLY_REBOUND, Answer
from shared.policy.rows import approve_verb

Verdict = Literal["approve", "reject"]

QUIET = " yet: your sign-in was replaced by another less than a day ago; GET /v1/me says until when"
SHORTEST_COMMENT = 3
"""Characters: a rejection must tell the requester something."""


@dataclass(frozen=True)
class Ballot:
    """A vote as it was cast, before anybody has said that it counts."""

    id: str
    voter: Person
    verdict: Verdict
    comment: str
    revisions: Revisions


def verb_now(review: Review) -> str:
    """The verb a vote on the open stage asks for."""
    stage = review.stages[review.stage - 1]
    return approve_verb(stage.rule_id, stage.index)


def guard(review: Review, user_id: str, now: datetime) -> None:
    """STATE, SELF_APPROVAL, ALREADY_ACTED: raises for the first that says no."""
    _guard_state(review, now)
    if user_id in review.subject.parties:
        raise Forbidden(
            "you asked for this access or would get it, so others have to decide on it",
            code="self_approval",
            denied=_denied(review),
        )
    if user_id in review.voters:
        raise Conflict(
            "you have voted in this review already; a person counts once, over all its stages",
            code="already_acted",
            denied=_denied(review),
        )


def vote(
    review: Review,
    ballot: Ballot,
    answer: Answer,
    electorate: Electorate,
    origin: Origin,
) -> Change[Review]:
    """Count a vote in the open stage. Raises what the guards, the policy or the review's need of people say.

    The review is decided then, or waits: `Review.stage_to_open` says whether for votes in another stage.
    `answer` is the policy's to `verb_now(review)` for this voter; its rows become the vote's proof.
    """
    guard(review, ballot.voter.user_id, origin.at)
    _check_allowed(review, answer)
    _check_comment(ballot)
    counted = _with_vote(review, ballot, answer, origin.at)
    if ballot.verdict == "approve":
        _check_not_blocking(review, counted, electorate)
    why = ballot.comment or f"approved in stage {review.stage} of {len(review.stages)}"
    change = emit(Change(counted), ReviewDecided, origin.because(why), vote=counted.votes[-1])
    if counted.given(review.stage, "reject") >= review.stages[review.stage - 1].denials:
        return reject(change, origin.because(ballot.comment), code=RejectionCode.REJECTED)
    return approve_complete(change, electorate, origin, revisions=ballot.revisions)


def approve_complete(
    change: Change[Review], electorate: Electorate, origin: Origin, *, revisions: Revisions
) -> Change[Review]:
    """Approve where no stage lacks approvals; nothing otherwise."""
    review = change.state
    if review.waiting_stage(electorate) is not None:
        return change
    because = origin.because("every stage has the approvals it needs")
    return approve(change, because, votes=review.counting(electorate), revisions=revisions)


def _guard_state(review: Review, now: datetime) -> None:
    if review.state in (ReviewState.APPROVED, ReviewState.REJECTED):
        raise Conflict(
            f"this review was {review.state} already; nothing is left to decide", code="review_decided"
        )
    if review.state is not ReviewState.OPEN:
        raise Conflict(
            "this review counts no longer: its ticket was stopped, or the approval rules changed and a new "
            "review was opened; look at the ticket's reviews",
            code="state",
        )
    if now >= review.expires_at:
        raise Conflict("the time to decide is over: the request has timed out", code="state")


def _check_allowed(review: Review, answer: Answer) -> None:
    if not answer.allowed:
        recently = answer.code == RECENTLY_REBOUND.code
        raise Forbidden(
            f"stage {review.stage} of this review is not yours to decide{QUIET if recently else ''}",
            code=answer.code.lower(),
            denied=_denied(review, rules=answer.rules),
        )


def _check_comment(ballot: Ballot) -> None:
    if ballot.verdict == "reject" and len(ballot.comment) < SHORTEST_COMMENT:
        sentence = f"say why, in at least {SHORTEST_COMMENT} characters: the requester reads it"
        raise Invalid(
            "a rejection needs a comment",
            code="comment_required",
            fields=[FieldError("/comment", "comment_required", sentence)],
        )


def _check_not_blocking(before: Review, after: Review, electorate: Electorate) -> None:
    """Every approval keeps the review solvable; a rejection may end it."""
    if after.can_be_filled(electorate):
        return
    if before.can_be_filled(electorate):
        raise Conflict(
            "you are needed in a later stage, where nobody else could take your place: leave this stage to "
            "its other approvers",
            code="would_block",
        )
    raise Conflict(
        "there are not enough distinct approvers left to fill every stage; an administrator has to add "
        "some before anybody can approve. You can still reject.",
        code="would_block",
    )


def _with_vote(review: Review, ballot: Ballot, answer: Answer, now: datetime) -> Review:
    counted = Vote(
        id=ballot.id,
        stage=review.stage,
        verdict=ballot.verdict,
        voter=ballot.voter,
        comment=ballot.comment,
        proof=answer.proof,
        revisions=ballot.revisions,
        at=now,
    )
    return review.model_copy(update={"votes": (*review.votes, counted)})


def _denied(review: Review, *, rules: tuple[str, ...] = ()) -> Denied:
    return Denied(verb_now(review), review.ticket_id, rules=rules, object_id=review.id)
