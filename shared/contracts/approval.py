"""Facts of the approval service: the review of one approval subject."""

from typing import ClassVar

from pydantic import AwareDatetime

from shared.contracts.event import About, Contract, Event, Revisions
from shared.contracts.people import Person
from shared.contracts.subject import SubjectKind
from shared.contracts.windows import Window
from shared.contracts.words import Word


class Stage(Contract):
    """One stage as frozen in a review. `approvers` are subjects: `user:<id>` or `group:<id>`."""

    rule_id: str
    index: int
    """Position within its rule, from 1; a vote asks the policy for `approve/<rule_id>/<index>`."""
    approvers: tuple[str, ...]
    needed: int
    denials: int = 1


class Verdict(Word):
    """What a vote says."""

    APPROVE = "approve"
    REJECT = "reject"


class Vote(Contract):
    """One decision, with the proof: what allowed it and on which documents."""

    id: str
    stage: int
    """Position in the review's stages, from 1."""
    verdict: Verdict
    voter: Person
    acting_for: str | None = None
    comment: str = ""
    proof: tuple[str, ...] = ()
    """The policy rows that allowed it, among them the proving group."""
    revisions: Revisions
    at: AwareDatetime


class ReviewFact(Event):
    """Base of review facts. `subject` is the ticket id; `version` counts the review's facts."""

    review_id: str
    ticket_id: str
    target_id: str
    account_id: str = ""
    revision: int
    subject_id: str
    subject_kind: SubjectKind
    ticket_version: int
    """The ticket's version the review was made from."""

    @property
    def about(self) -> About:
        return About(self.ticket_id, (self.account_id,) if self.account_id else ())


class ReviewOpened(ReviewFact):
    TYPE: ClassVar[str] = "review.opened.v1"

    stages: tuple[Stage, ...]
    auto_approved_by: str | None = None
    """The rule that approves without a vote, if one does."""
    expires_at: AwareDatetime
    revisions: Revisions


class OtherGrant(Contract):
    """Access that a beneficiary has or will have besides, as approved."""

    beneficiary: Person
    account_id: str
    account_name: str
    set_name: str
    ends_at: AwareDatetime


class EarlierRejection(Contract):
    """What approvers said no to before: the same requester, account and permission set."""

    at: AwareDatetime
    comment: str = ""


class ReviewStageOpened(ReviewFact):
    """A stage waits for votes. `approvers` are the persons who may vote on it now; they get mail."""

    TYPE: ClassVar[str] = "review.stage_opened.v1"

    stage: int
    stages: int
    needed: int
    approvers: tuple[Person, ...]
    other_grants: int = 0
    """How many other live grants the beneficiaries have."""
    earlier_rejections: int = 0
    """How often the same requester was refused the same account and permission set."""
    other_grants_listed: tuple[OtherGrant, ...] = ()
    """Some of the other grants: those that last longest."""
    earlier_rejections_listed: tuple[EarlierRejection, ...] = ()
    """Some of the earlier rejections: the newest."""


class ReviewDecided(ReviewFact):
    TYPE: ClassVar[str] = "review.decided.v1"

    vote: Vote


class ReviewApproved(ReviewFact):
    """The witness: what exactly was approved, by whom. Without it nothing is granted."""

    TYPE: ClassVar[str] = "review.approved.v1"

    window: Window
    content_hash: str
    votes: tuple[Vote, ...]
    auto_approved_by: str | None = None
    revisions: Revisions


class RejectionCode(Word):
    """Why a review ended with a no."""

    REJECTED = "rejected"
    """An approver said so."""
    NO_RULE = "no_rule"
    UNAPPROVABLE = "unapprovable"


class ExtensionEnd(Word):
    """Why a later end that was asked for is not to come; where a review said no, with its code."""

    REJECTED = RejectionCode.REJECTED.value
    NO_RULE = RejectionCode.NO_RULE.value
    UNAPPROVABLE = RejectionCode.UNAPPROVABLE.value
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"
    STOPPED = "stopped"
    """Somebody ended some of the access."""

    @property
    def was_decided(self) -> bool:
        """Whether a review said no; else nobody decided, or nobody had to any more."""
        return self.value in {code.value for code in RejectionCode}


class ReviewRejected(ReviewFact):
    TYPE: ClassVar[str] = "review.rejected.v1"

    code: RejectionCode
    votes: tuple[Vote, ...] = ()


class ReviewVoided(ReviewFact):
    """The review counts no longer: the ticket was withdrawn or stopped, or its rule changed."""

    TYPE: ClassVar[str] = "review.voided.v1"
