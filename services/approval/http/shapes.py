"""Reviews as the API shows them: the JSON that OpenAPI documents. Proofs of votes stay in the audit log."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from services.approval.domain.review import Electorate, Review, ReviewState
from shared.configuration.kinds.sensitive_mark import SensitiveMarkShown, marks_shown
from shared.contracts.approval import RejectionCode, Stage, Vote
from shared.contracts.description import Description
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject, SubjectKind
from shared.contracts.windows import Window, WindowAsked
from shared.foundation.shapes import Shown
from shared.policy.snapshot import Snapshot
from shared.text.durations import Duration

StageState = Literal["met", "refused", "open", "waiting", "void"]


class ReviewStageShown(Shown):
    """A stage with how far it is. `approvers` are the subjects as frozen when the review was opened."""

    stage: int
    rule_id: str
    index: int
    approvers: list[str]
    needed: int
    denials: int
    approvals: int
    rejections: int
    state: StageState


class VoteShown(Shown):
    id: str
    stage: int
    verdict: Literal["approve", "reject"]
    voter: Person
    acting_for: str | None
    comment: str
    at: datetime
    counts: bool | None
    """Whether it counts now: an approval only while its voter may give it. None once the review is closed."""


class NewEnd(Shown):
    """What an extension changes: access that would end at one moment ends at a later one."""

    before: datetime
    after: datetime


class ReviewShown(Description, Shown):
    """A review in a list. `stage` is the open one, absent once the review is closed."""

    id: str
    ticket_id: str
    target_id: str
    revision: int
    subject_id: str
    kind: SubjectKind
    new_end: NewEnd | None
    """Of an extension."""
    version: int
    state: ReviewState
    code: RejectionCode | None
    account_id: str
    account_name: str
    set_id: str
    set_name: str
    requester: Person
    beneficiaries: list[Person]
    reason: str
    asked: WindowAsked
    duration: Duration
    """What approval rules are asked for; of an extension, from the first start to the new end."""
    submitted_at: datetime
    opened_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    stage: int | None
    stages: int
    auto_approved_by: str | None
    window: Window | None
    unapprovable_since: datetime | None
    """Since when too few people are left to approve it: an administrator has to add approvers."""
    you_may_decide: bool
    sensitive: list[SensitiveMarkShown]
    """Marks of its account and its set, as they are now."""

    @classmethod
    def of(cls, review: Review, snapshot: Snapshot, *, you_may_decide: bool) -> Self:
        return cls(**_summary(review, snapshot), you_may_decide=you_may_decide)


class ReviewWhole(ReviewShown):
    """A review on its own page."""

    stage_list: list[ReviewStageShown]
    votes: list[VoteShown]
    may_decide: list[Person]
    """Who may still vote on the open stage, by the rules and memberships of now."""

    @classmethod
    def of(
        cls,
        review: Review,
        snapshot: Snapshot,
        *,
        you_may_decide: bool,
        deciders: Sequence[Person] = (),
        electorate: Electorate | None = None,
    ) -> Self:
        """`electorate` says which approvals of an open review count; a closed one is shown without."""
        counting = review.votes if electorate is None else review.counting(electorate)
        return cls(
            **_summary(review, snapshot),
            you_may_decide=you_may_decide,
            stage_list=[
                _stage(review, number, one, counting) for number, one in enumerate(review.stages, start=1)
            ],
            votes=[
                _vote(one, counts=None if electorate is None else one in counting) for one in review.votes
            ],
            may_decide=list(deciders),
        )


class DecisionShown(Shown):
    """What came of a vote."""

    review_id: str
    vote_id: str
    state: ReviewState
    stage: int | None
    stages: int
    version: int

    @classmethod
    def of(cls, review: Review) -> Self:
        """From the review right after the vote."""
        return cls(
            review_id=review.id,
            vote_id=review.votes[-1].id,
            state=review.state,
            stage=_open_stage(review),
            stages=len(review.stages),
            version=review.version,
        )


def _open_stage(review: Review) -> int | None:
    return review.stage if review.state is ReviewState.OPEN else None


def _summary(review: Review, snapshot: Snapshot) -> dict[str, Any]:
    subject = review.subject
    return {
        "id": review.id,
        "ticket_id": subject.ticket_id,
        "target_id": subject.target_id,
        "revision": subject.revision,
        "subject_id": subject.id,
        "kind": subject.kind,
        "new_end": _new_end(subject),
        "version": review.version,
        "state": review.state,
        "code": review.code,
        "account_id": subject.account_id,
        "account_name": subject.account_name,
        "set_id": subject.set_id,
        "set_name": subject.set_name,
        "requester": subject.requester,
        "beneficiaries": list(subject.beneficiaries),
        "reason": subject.reason,
        "asked": subject.asked,
        "duration": subject.length,
        "submitted_at": subject.submitted_at,
        "opened_at": review.opened_at,
        "expires_at": review.expires_at,
        "closed_at": review.closed_at,
        "stage": _open_stage(review),
        "unapprovable_since": review.unapprovable_since,
        "stages": len(review.stages),
        "auto_approved_by": review.auto_approved_by,
        "window": review.approved_window,
        "sensitive": marks_shown(subject.account_id, subject.set_id, snapshot),
        **dict(subject.description()),
    }


def _new_end(subject: ApprovalSubject) -> NewEnd | None:
    """An extension times out at the end as it is, and asks for the one in its window."""
    if subject.kind is not SubjectKind.EXTENSION or subject.asked.ends_at is None:
        return None
    return NewEnd(before=subject.expires_at, after=subject.asked.ends_at)


def _stage(review: Review, number: int, stage: Stage, counting: Collection[Vote]) -> ReviewStageShown:
    approvals = sum(vote.stage == number and vote.verdict == "approve" for vote in counting)
    rejections = review.given(number, "reject")
    state: StageState = "waiting"
    if rejections >= stage.denials:
        state = "refused"
    elif approvals >= stage.needed:
        state = "met"
    elif review.state is not ReviewState.OPEN:
        state = "void"
    elif number == review.stage:
        state = "open"
    return ReviewStageShown(
        stage=number,
        rule_id=stage.rule_id,
        index=stage.index,
        approvers=list(stage.approvers),
        needed=stage.needed,
        denials=stage.denials,
        approvals=approvals,
        rejections=rejections,
        state=state,
    )


def _vote(vote: Vote, *, counts: bool | None) -> VoteShown:
    return VoteShown(
        id=vote.id,
        stage=vote.stage,
        verdict=vote.verdict,
        voter=vote.voter,
        acting_for=vote.acting_for,
        comment=vote.comment,
        at=vote.at,
        counts=counts,
    )
