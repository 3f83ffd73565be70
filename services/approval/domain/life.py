"""How a review begins, goes from stage to stage and closes, with the facts each step is made of.

Pure: time, ids, people and the policy's answers come in as arguments; commands store what comes out of
here and publish the facts with it. What a vote leads to is in votes.py.
"""

from typing import Any, Final

from services.approval.domain.review import (
    NEXT,
    Change,
    Electorate,
    Origin,
    RejectionCode,
    Review,
    Reviewed,
    ReviewState,
    Weighing,
)
from shared.contracts.approval import (
    ReviewApproved,
    ReviewFact,
    ReviewOpened,
    ReviewRejected,
    ReviewStageOpened,
    ReviewVoided,
    Stage,
    Vote,
)
from shared.contracts.event import Revisions
from shared.contracts.witness import resolve_window
from shared.foundation.errors import Bug
from shared.policy.selection import RuleChoice

MOST_TOLD: Final = 1000
"""Approvers that one fact names, and so gets mailed: a group of everybody must not make a fact that no
broker takes. Those beyond may vote all the same and find the review in their list."""


def open_review(
    reviewed: Reviewed,
    choice: RuleChoice,
    electorate: Electorate,
    weighing: Weighing,
    *,
    review_id: str,
    ticket_version: int,
    revisions: Revisions,
    origin: Origin,
) -> Change:
    """Begin a review with the stages frozen; without rule, people or time it closes at once."""
    change = Change(
        Review(
            id=review_id,
            ticket_id=reviewed.ticket_id,
            target_id=reviewed.target.id,
            revision=reviewed.target.revision,
            ticket_version=ticket_version,
            reviewed=reviewed,
            stages=choice.stages,
            revisions=revisions,
            opened_at=origin.at,
            expires_at=reviewed.expires_at,
        )
    )
    if origin.at >= reviewed.expires_at or resolve_window(reviewed.asked, origin.at) is None:
        return void(change, origin, why="nothing of the window asked for is left")
    if choice.auto_approved_by is not None:
        return _approve_by_rule(change, choice.auto_approved_by, origin)
    if not choice.stages:
        return reject(change, origin, code="no_rule", why="no approval rule covers this target any more")
    if not change.review.can_be_filled(electorate):
        return reject(
            change,
            origin,
            code="unapprovable",
            why="not every stage can be filled by distinct people who are not party to the ticket",
        )
    opened = _say_opened(change, origin, why=f"{len(choice.stages)} stage(s) have to approve")
    return open_stage(opened, 1, electorate, weighing, origin)


def open_stage(
    change: Change, number: int, electorate: Electorate, weighing: Weighing, origin: Origin
) -> Change:
    """Let a stage wait for votes of everybody eligible who is no party and has not voted."""
    review = change.review.model_copy(update={"stage": number})
    spent = change.review.spent
    again = " again: a vote that it had counts no longer" if number < change.review.stage else ""
    approvers = tuple(person for person in electorate[number - 1] if person.user_id not in spent)
    return say(
        Change(review, change.facts),
        ReviewStageOpened,
        origin,
        why=f"stage {number} of {len(review.stages)} waits for votes{again}",
        stage=number,
        stages=len(review.stages),
        needed=review.stages[number - 1].needed,
        approvers=approvers[:MOST_TOLD],
        other_grants=weighing.other_grants,
        earlier_rejections=weighing.earlier_rejections,
        grants_to_weigh=weighing.grants,
        rejections_to_weigh=weighing.rejections,
    )


def approve(
    change: Change, origin: Origin, *, votes: tuple[Vote, ...] = (), revisions: Revisions, why: str
) -> Change:
    """Publish the witness for the window that begins now; void when nothing of it is left.

    `votes` are those it rests on: approvals that count no longer are not among them.
    """
    reviewed = change.review.reviewed
    window = resolve_window(reviewed.asked, origin.at)
    if window is None:
        return void(change, origin, why="approved, but nothing of the window asked for is left")
    witness = reviewed.witness(window)
    closed = _close(
        change, ReviewState.APPROVED, origin, {"approved_window": window, "content_hash": witness}
    )
    return say(
        closed,
        ReviewApproved,
        origin,
        why=why,
        window=window,
        content_hash=witness,
        votes=votes,
        auto_approved_by=closed.review.auto_approved_by,
        revisions=revisions,
    )


def reject(change: Change, origin: Origin, *, code: RejectionCode, why: str) -> Change:
    closed = _close(change, ReviewState.REJECTED, origin, {"code": code})
    return say(closed, ReviewRejected, origin, why=why, code=code, votes=closed.review.votes)


def void(change: Change, origin: Origin, *, why: str) -> Change:
    """The review counts no longer, whatever votes it has."""
    return say(_close(change, ReviewState.VOIDED, origin, {}), ReviewVoided, origin, why=why)


def outdated(review: Review, choice: RuleChoice) -> bool:
    """Whether the rules now ask for other stages than are frozen; the order of approvers says nothing."""
    return choice.auto_approved_by != review.auto_approved_by or (
        [_essence(stage) for stage in choice.stages] != [_essence(stage) for stage in review.stages]
    )


def say(change: Change, cls: type[ReviewFact], origin: Origin, *, why: str, **fields: Any) -> Change:
    """Add a fact; every fact is a version."""
    review = change.review.model_copy(update={"version": change.review.version + 1})
    fact = cls(
        subject=review.ticket_id,
        version=review.version,
        actor=origin.actor,
        why=why,
        cause=origin.cause,
        at=origin.at,
        review_id=review.id,
        ticket_id=review.ticket_id,
        target_id=review.target_id,
        account_id=review.reviewed.target.account_id,
        revision=review.revision,
        ticket_version=review.ticket_version,
        **fields,
    )
    return Change(review, (*change.facts, fact))


def _approve_by_rule(change: Change, rule_id: str, origin: Origin) -> Change:
    marked = Change(change.review.model_copy(update={"auto_approved_by": rule_id}), change.facts)
    opened = _say_opened(marked, origin, why=f"the rule {rule_id} approves this length without a vote")
    return approve(
        opened, origin, revisions=change.review.revisions, why=f"approved by the rule {rule_id} itself"
    )


def _say_opened(change: Change, origin: Origin, *, why: str) -> Change:
    review = change.review
    return say(
        change,
        ReviewOpened,
        origin,
        why=why,
        stages=review.stages,
        auto_approved_by=review.auto_approved_by,
        expires_at=review.expires_at,
        revisions=review.revisions,
    )


def _close(change: Change, state: ReviewState, origin: Origin, update: dict[str, Any]) -> Change:
    if state not in NEXT[change.review.state]:
        raise Bug(
            f"review {change.review.id} is {change.review.state} and cannot become {state}: this is a bug",
            code="review_transition",
        )
    closed = {"state": state, "closed_at": origin.at, **update}
    return Change(change.review.model_copy(update=closed), change.facts)


def _essence(stage: Stage) -> tuple[str, int, frozenset[str], int, int]:
    return stage.rule_id, stage.index, frozenset(stage.approvers), stage.needed, stage.denials
