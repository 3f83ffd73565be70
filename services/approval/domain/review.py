"""The review of one target in one revision: its states, and how it opens and closes.

Pure: time, ids, people and the policy's answers come in as arguments. Votes are in votes.py; commands
store what comes out of here and publish the facts with it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, Self

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
from shared.contracts.event import Actor, Contract, Revisions
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, Target, Ticket, Window, WindowAsked
from shared.contracts.witness import content_hash, resolve_window
from shared.errors import Bug
from shared.policy.matching import solvable
from shared.policy.selection import RuleChoice


class ReviewState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOIDED = "voided"


NEXT: Final = {
    ReviewState.OPEN: frozenset({ReviewState.APPROVED, ReviewState.REJECTED, ReviewState.VOIDED}),
    ReviewState.APPROVED: frozenset[ReviewState](),
    ReviewState.REJECTED: frozenset[ReviewState](),
    ReviewState.VOIDED: frozenset[ReviewState](),
}
"""Where a review may go. What was decided stays decided: a stop after that is the ticket's business."""

RejectionCode = Literal["rejected", "no_rule", "unapprovable"]

Electorate = tuple[tuple[Person, ...], ...]
"""Stage by stage, the persons whom the policy lets vote now; parties and voters are taken out here."""


@dataclass(frozen=True)
class Origin:
    """Who did it, what it followed from, and when: the part of every fact that is not about the review."""

    actor: Actor
    cause: str | None
    at: datetime


@dataclass(frozen=True)
class Weighing:
    """What an approver should know besides the ticket."""

    other_grants: int = 0
    earlier_rejections: int = 0


class Reviewed(Contract):
    """What is decided on, frozen when the review opens.

    The witness is computed over this and not over later facts: a ticket service gone wrong cannot
    change what the approvers were shown.
    """

    instance: str
    ticket_id: str
    requester: Person
    beneficiaries: tuple[Person, ...]
    target: Target
    grants: tuple[Grant, ...]
    asked: WindowAsked
    reason: str
    reference: str | None
    submitted_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, ticket: Ticket, target: Target) -> Self:
        return cls(
            instance=ticket.instance,
            ticket_id=ticket.id,
            requester=ticket.requester,
            beneficiaries=ticket.beneficiaries,
            target=target,
            grants=tuple(grant for grant in ticket.grants if grant.target_id == target.id),
            asked=ticket.asked,
            reason=ticket.reason,
            reference=ticket.reference,
            submitted_at=ticket.submitted_at,
            expires_at=ticket.expires_at,
        )

    @property
    def parties(self) -> frozenset[str]:
        """User ids of those it is for: nobody of them may vote on it."""
        return frozenset(
            {
                self.requester.user_id,
                *(person.user_id for person in self.beneficiaries),
                *(grant.beneficiary for grant in self.grants),
            }
        )

    @property
    def duration(self) -> timedelta:
        """The length that rules are asked for; an open start counts from the submit."""
        if self.asked.duration is not None:
            return self.asked.duration
        if self.asked.ends_at is None:
            return timedelta.max  # against the contract; the longest length lets nothing through by itself
        return self.asked.ends_at - (self.asked.starts_at or self.submitted_at)

    def witness(self, window: Window) -> str:
        """The content hash that the provisioner will compare."""
        return content_hash(
            instance=self.instance,
            ticket_id=self.ticket_id,
            target_id=self.target.id,
            revision=self.target.revision,
            beneficiaries=[grant.beneficiary for grant in self.grants],
            account_id=self.target.account_id,
            set_id=self.target.set_id,
            set_digest=self.target.set_digest,
            window=window,
        )


class Review(Contract):
    """One review as it stands. `version` counts its facts; `stage` is the open one, from 1 (0: none)."""

    id: str
    ticket_id: str
    target_id: str
    revision: int
    ticket_version: int
    reviewed: Reviewed
    stages: tuple[Stage, ...]
    revisions: Revisions
    opened_at: datetime
    expires_at: datetime
    state: ReviewState = ReviewState.OPEN
    version: int = 0
    stage: int = 0
    votes: tuple[Vote, ...] = ()
    auto_approved_by: str | None = None
    code: RejectionCode | None = None
    approved_window: Window | None = None
    content_hash: str | None = None
    closed_at: datetime | None = None

    @property
    def voters(self) -> frozenset[str]:
        """Everybody whom a vote has used up, in whatever stage."""
        return frozenset(
            {
                *(vote.voter.user_id for vote in self.votes),
                *(vote.acting_for for vote in self.votes if vote.acting_for is not None),
            }
        )

    @property
    def spent(self) -> frozenset[str]:
        """Who cannot vote (any more): parties and voters."""
        return self.reviewed.parties | self.voters

    def given(self, stage: int, verdict: str) -> int:
        """How many votes of that verdict a stage has; stages count from 1."""
        return sum(vote.stage == stage and vote.verdict == verdict for vote in self.votes)

    def can_be_filled(self, electorate: Electorate) -> bool:
        """Whether distinct people can still give every approval that is missing."""
        return solvable(
            self.stages,
            [[person.user_id for person in people] for people in electorate],
            used=self.spent,
            given=[self.given(number, "approve") for number in range(1, len(self.stages) + 1)],
        )


@dataclass(frozen=True)
class Change:
    """A review after a step, with the facts that the step is made of, in order."""

    review: Review
    facts: tuple[ReviewFact, ...] = ()


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
    approvers = tuple(
        person for person in electorate[number - 1] if person.user_id not in change.review.spent
    )
    return say(
        Change(review, change.facts),
        ReviewStageOpened,
        origin,
        why=f"stage {number} of {len(review.stages)} waits for votes",
        stage=number,
        stages=len(review.stages),
        needed=review.stages[number - 1].needed,
        approvers=approvers,
        other_grants=weighing.other_grants,
        earlier_rejections=weighing.earlier_rejections,
    )


def approve(change: Change, origin: Origin, *, revisions: Revisions, why: str) -> Change:
    """Publish the witness for the window that begins now; void when nothing of it is left."""
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
        votes=closed.review.votes,
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
