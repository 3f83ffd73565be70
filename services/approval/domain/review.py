"""The review of one approval subject: what it consists of, and the states it may go through.

Pure values. The steps are in lifecycle.py, votes in votes.py, and who may vote or see it in eligibility.py.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.contracts.approval import EarlierRejection, OtherGrant, RejectionCode, Stage, Vote
from shared.contracts.event import Contract, Revisions
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject
from shared.contracts.windows import Window
from shared.policy.matching import solvable


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

Electorate = tuple[tuple[Person, ...], ...]
"""Stage by stage, the persons whom the policy lets vote now; parties and voters are taken out here."""


@dataclass(frozen=True)
class Background:
    """What an approver should know besides the ticket: counts, and some of what was counted."""

    other_grants: int = 0
    earlier_rejections: int = 0
    other_grants_listed: tuple[OtherGrant, ...] = ()
    earlier_rejections_listed: tuple[EarlierRejection, ...] = ()


class Review(Contract):
    """One review as it stands. `version` counts its events; `stage` is the open one, from 1 (0: none)."""

    id: str
    subject: ApprovalSubject
    """What is decided on, frozen when the review opens.

    The witness is computed over this and not over later facts: a ticket service gone wrong cannot change
    what the approvers were shown.
    """
    ticket_version: int
    stages: tuple[Stage, ...]
    revisions: Revisions
    opened_at: datetime
    state: ReviewState = ReviewState.OPEN
    version: int = 0
    stage: int = 0
    votes: tuple[Vote, ...] = ()
    auto_approved_by: str | None = None
    code: RejectionCode | None = None
    unapprovable_since: datetime | None = None
    """Since when too few distinct people are left to approve it, as the last refresh found; while open."""
    approved_window: Window | None = None
    content_hash: str | None = None
    closed_at: datetime | None = None

    @property
    def ticket_id(self) -> str:
        return self.subject.ticket_id

    @property
    def expires_at(self) -> datetime:
        return self.subject.expires_at

    def waits(self, now: datetime) -> bool:
        """Whether votes may still be given: it is open, and its time is not over."""
        return self.state is ReviewState.OPEN and now < self.expires_at

    @property
    def voters(self) -> frozenset[str]:
        """Everybody whom a vote has used up, in whatever stage: voters, and those they acted for."""
        return frozenset(person for vote in self.votes for person in people_of(vote))

    @property
    def used_up(self) -> frozenset[str]:
        """Who cannot vote (any more): parties and voters."""
        return self.subject.parties | self.voters

    def given(self, stage: int, verdict: str) -> int:
        """How many votes of that verdict a stage has; stages count from 1."""
        return sum(vote.stage == stage and vote.verdict == verdict for vote in self.votes)

    def counting(self, electorate: Electorate) -> tuple[Vote, ...]:
        """Rejections, and the approvals whose voters may still give them in their stage."""
        eligible = [frozenset(person.user_id for person in people) for people in electorate]
        return tuple(
            vote
            for vote in self.votes
            if vote.verdict == "reject" or vote.voter.user_id in eligible[vote.stage - 1]
        )

    def approvals(self, electorate: Electorate) -> list[int]:
        """How many approvals count, stage by stage."""
        given = [vote.stage for vote in self.counting(electorate) if vote.verdict == "approve"]
        return [given.count(number) for number in range(1, len(self.stages) + 1)]

    def waiting_stage(self, electorate: Electorate) -> int | None:
        """The first stage that lacks approvals, perhaps one that had them; None when none does."""
        numbered = enumerate(zip(self.stages, self.approvals(electorate), strict=True), start=1)
        return next((number for number, (stage, given) in numbered if given < stage.needed), None)

    def stage_to_open(self, electorate: Electorate) -> int | None:
        """The stage that has to wait for votes and does not yet; None when it does, or nothing is missing.

        An earlier stage lacks approvals again once who gave them may no longer: its votes are kept, and
        others have to give those that are missing.
        """
        if self.state is not ReviewState.OPEN:
            return None
        waiting = self.waiting_stage(electorate)
        return None if waiting == self.stage else waiting

    def deciders(self, electorate: Electorate) -> tuple[Person, ...]:
        """Who may still vote in the open stage."""
        used_up = self.used_up
        return tuple(person for person in electorate[self.stage - 1] if person.user_id not in used_up)

    def can_be_filled(self, electorate: Electorate) -> bool:
        """Whether distinct people can still give every approval that is missing."""
        return solvable(
            self.stages,
            [[person.user_id for person in people] for people in electorate],
            used=self.used_up,
            given=self.approvals(electorate),
        )

    @property
    def decided_on(self) -> tuple[tuple[Revisions, datetime], ...]:
        """The documents it was opened on and those of each vote, with when that was.

        Who knows older ones must not judge it.
        """
        return (self.revisions, self.opened_at), *((vote.revisions, vote.at) for vote in self.votes)


def people_of(vote: Vote) -> tuple[str, ...]:
    """User ids that a vote uses up: its voter, and whom they acted for."""
    return tuple(dict.fromkeys(filter(None, (vote.voter.user_id, vote.acting_for))))
