"""A person's vote on a review: under the ticket's lock, through the guards, counted and told at once."""

from dataclasses import dataclass
from functools import partial

from services.approval import store
from services.approval.commands.reviews import require_documents, weigh
from services.approval.domain import eligibility
from services.approval.domain.life import outdated
from services.approval.domain.review import Change, Origin, Review, ReviewState
from services.approval.domain.votes import Ballot, Verdict, guard, verb_now, vote
from shared.context import Context
from shared.database.pool import Conn, transaction
from shared.foundation.clock import new_id
from shared.foundation.errors import Conflict, Denied, NotFound, PreconditionFailed
from shared.http.access import Caller
from shared.http.idempotency import Answer, once
from shared.http.web import etag
from shared.messaging import outbox


@dataclass(frozen=True)
class Decision:
    """What was asked for. `expected` is the version the person has read; None is `If-Match: *`."""

    verdict: Verdict
    comment: str
    expected: int | None


async def decide(context: Context, caller: Caller, review_id: str, decision: Decision) -> Answer:
    """Cast one vote. A second one at the same time waits for the first and then sees it."""
    async with transaction(context.pool) as conn:
        action = partial(_decide, context, conn, caller, review_id, decision)
        return await once(conn, caller.key, action, now=context.clock.now())


async def _decide(context: Context, conn: Conn, caller: Caller, review_id: str, decision: Decision) -> Answer:
    review = await store.lock_review(conn, review_id)
    origin = Origin(caller.actor, caller.cause, context.clock.now())
    review = _visible(context, caller, review, origin)
    guard(review, caller.user_id, origin.at)
    _check_rules(context, review)
    change = vote(
        review,
        _ballot(context, caller, decision),
        eligibility.ask(context.world, review, caller.user_id, origin.at),
        eligibility.electorate_of(context.world, review.stages, review.reviewed, origin.at),
        await weigh(conn, review.reviewed, origin),
        origin,
    )
    # Last, as RFC 9110 (13.2.1) has it: what would be refused anyway is refused with its own reason.
    _check_version(review, decision)
    await store.save(conn, review, change)
    await outbox.append(conn, context.service, *change.facts)
    return _answer(change)


def _visible(context: Context, caller: Caller, review: Review | None, origin: Origin) -> Review:
    """The review, or NotFound where there is none or it is none of this person's business."""
    if review is not None and eligibility.may_see(context.world, review, caller.user_id, origin.at):
        return review
    denied = None
    if review is not None:
        verb = verb_now(review) if review.stage else "ticket.read"
        denied = Denied(verb, review.ticket_id, object_id=review.id)
    raise NotFound("there is no such review, or it is not yours to see", code="review_unknown", denied=denied)


def _check_rules(context: Context, review: Review) -> None:
    """A vote counts under the rules of now: what they no longer ask for is reopened, not voted on."""
    for wanted in review.decided_on:
        require_documents(context, wanted)
    if outdated(review, eligibility.rules_now(context.world, review.reviewed)):
        raise Conflict(
            "the approval rules have just changed; the review is being opened again under the new ones",
            code="state",
        )


def _check_version(review: Review, decision: Decision) -> None:
    if decision.expected is not None and decision.expected != review.version:
        raise PreconditionFailed(
            f"the review is at version {review.version} and you have read {decision.expected}: "
            "look at it again before you decide",
            code="review_changed",
        )


def _ballot(context: Context, caller: Caller, decision: Decision) -> Ballot:
    return Ballot(
        id=new_id(),
        voter=caller.person,
        verdict=decision.verdict,
        comment=decision.comment.strip(),
        revisions=context.world.revisions,
    )


def _answer(change: Change) -> Answer:
    review = change.review
    body = {
        "review_id": review.id,
        "vote_id": review.votes[-1].id,
        "state": review.state,
        "stage": review.stage if review.state is ReviewState.OPEN else None,
        "stages": len(review.stages),
        "version": review.version,
    }
    return Answer(201, body, {"ETag": etag(review.version)})
