"""How a review begins, goes from stage to stage and closes, with the events each step is made of.

Pure: time, ids, people and the policy's answers come in as arguments. Every step answers a `Change[Review]`
that the store saves. What a vote leads to is in votes.py.
"""

from typing import Any, Final

from services.approval.domain.review import (
    NEXT,
    Background,
    Electorate,
    Review,
    ReviewState,
)
from shared.contracts.approval import (
    RejectionCode,
    ReviewApproved,
    ReviewFact,
    ReviewOpened,
    ReviewRejected,
    ReviewStageOpened,
    ReviewVoided,
    Stage,
    Vote,
)
from shared.contracts.change import Change, Origin
from shared.contracts.event import Revisions
from shared.contracts.subject import ApprovalSubject
from shared.foundation.errors import Bug
from shared.policy.selection import RuleChoice

MOST_NAMED: Final = 1000
"""Approvers that one event names, and so gets mailed: a group of everybody must not make an event that no
broker takes. Those beyond may vote all the same and find the review in their list."""


def open_review(
    subject: ApprovalSubject,
    choice: RuleChoice,
    electorate: Electorate,
    *,
    review_id: str,
    ticket_version: int,
    revisions: Revisions,
    origin: Origin,
) -> Change[Review]:
    """Begin a review with the stages frozen; without rule, people or time it closes at once.

    One that has to be voted on still has no stage open.
    """
    review = Review(
        id=review_id,
        subject=subject,
        ticket_version=ticket_version,
        stages=choice.stages,
        revisions=revisions,
        opened_at=origin.at,
    )
    change = Change(review)
    if not review.waits(origin.at) or subject.window_at(origin.at) is None:
        return void(change, origin.because("nothing of the window asked for is left"))
    if choice.auto_approved_by is not None:
        return _approve_by_rule(change, choice.auto_approved_by, origin)
    if not choice.stages:
        return reject(
            change, origin.because("no approval rule covers this target any more"), code=RejectionCode.NO_RULE
        )
    if not review.can_be_filled(electorate):
        why = "not every stage can be filled by distinct people who are not party to the ticket"
        return reject(change, origin.because(why), code=RejectionCode.UNAPPROVABLE)
    return _emit_opened(change, origin.because(f"{len(choice.stages)} stage(s) have to approve"))


def open_stage(
    change: Change[Review], number: int, electorate: Electorate, background: Background, origin: Origin
) -> Change[Review]:
    """Let a stage wait for votes of everybody eligible who is no party and has not voted."""
    before = change.state
    review = before.model_copy(update={"stage": number})
    again = " again: a vote that it had counts no longer" if number < before.stage else ""
    return emit(
        Change(review, change.events),
        ReviewStageOpened,
        origin.because(f"stage {number} of {len(review.stages)} waits for votes{again}"),
        stage=number,
        stages=len(review.stages),
        needed=review.stages[number - 1].needed,
        approvers=review.deciders(electorate)[:MOST_NAMED],
        other_grants=background.other_grants,
        earlier_rejections=background.earlier_rejections,
        other_grants_listed=background.other_grants_listed,
        earlier_rejections_listed=background.earlier_rejections_listed,
    )


def approve(
    change: Change[Review], origin: Origin, *, votes: tuple[Vote, ...] = (), revisions: Revisions
) -> Change[Review]:
    """Emit the witness for the window that begins now; void when nothing of it is left.

    `votes` are those it rests on: approvals that count no longer are not among them.
    """
    subject = change.state.subject
    window = subject.window_at(origin.at)
    if window is None:
        return void(change, origin.because("approved, but nothing of the window asked for is left"))
    witness = subject.content_hash(window)
    closed = _close(change, ReviewState.APPROVED, origin, approved_window=window, content_hash=witness)
    return emit(
        closed,
        ReviewApproved,
        origin,
        window=window,
        content_hash=witness,
        votes=votes,
        auto_approved_by=closed.state.auto_approved_by,
        revisions=revisions,
    )


def reject(change: Change[Review], origin: Origin, *, code: RejectionCode) -> Change[Review]:
    closed = _close(change, ReviewState.REJECTED, origin, code=code)
    return emit(closed, ReviewRejected, origin, code=code, votes=closed.state.votes)


def void(change: Change[Review], origin: Origin) -> Change[Review]:
    """The review counts no longer, whatever votes it has."""
    return emit(_close(change, ReviewState.VOIDED, origin), ReviewVoided, origin)


def note_electorate(change: Change[Review], electorate: Electorate, origin: Origin) -> Change[Review]:
    """Remember since when an open review cannot be approved for lack of people; forget it when it can."""
    review = change.state
    if review.state is not ReviewState.OPEN:
        return change
    since = None if review.can_be_filled(electorate) else review.unapprovable_since or origin.at
    return Change(review.model_copy(update={"unapprovable_since": since}), change.events)


def outdated(review: Review, choice: RuleChoice) -> bool:
    """Whether the rules now ask for other stages than are frozen; the order of approvers says nothing."""
    return choice.auto_approved_by != review.auto_approved_by or (
        [_essence(stage) for stage in choice.stages] != [_essence(stage) for stage in review.stages]
    )


def emit(change: Change[Review], cls: type[ReviewFact], origin: Origin, **fields: Any) -> Change[Review]:
    """Add an event; every event is a version."""
    review = change.state.model_copy(update={"version": change.state.version + 1})
    subject = review.subject
    event = cls(
        subject=subject.ticket_id,
        version=review.version,
        review_id=review.id,
        ticket_id=subject.ticket_id,
        target_id=subject.target_id,
        account_id=subject.account_id,
        revision=subject.revision,
        subject_id=subject.id,
        subject_kind=subject.kind,
        ticket_version=review.ticket_version,
        **origin.fields(),
        **fields,
    )
    return Change(review, (*change.events, event))


def _approve_by_rule(change: Change[Review], rule_id: str, origin: Origin) -> Change[Review]:
    review = change.state.model_copy(update={"auto_approved_by": rule_id})
    why = f"the rule {rule_id} approves this length without a vote"
    opened = _emit_opened(Change(review, change.events), origin.because(why))
    return approve(
        opened, origin.because(f"approved by the rule {rule_id} itself"), revisions=review.revisions
    )


def _emit_opened(change: Change[Review], origin: Origin) -> Change[Review]:
    review = change.state
    return emit(
        change,
        ReviewOpened,
        origin,
        stages=review.stages,
        auto_approved_by=review.auto_approved_by,
        expires_at=review.expires_at,
        revisions=review.revisions,
    )


def _close(change: Change[Review], state: ReviewState, origin: Origin, **update: Any) -> Change[Review]:
    review = change.state
    if state not in NEXT[review.state]:
        raise Bug(
            f"review {review.id} is {review.state} and cannot become {state}: this is a bug",
            code="review_transition",
        )
    closed = {"state": state, "closed_at": origin.at, "unapprovable_since": None, **update}
    return Change(review.model_copy(update=closed), change.events)


def _essence(stage: Stage) -> tuple[str, int, frozenset[str], int, int]:
    return stage.rule_id, stage.index, frozenset(stage.approvers), stage.needed, stage.denials
