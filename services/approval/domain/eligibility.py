"""Who may vote on a review and who may see it, asked of the documents as they are now.

Pure reads of a `Snapshot`. What is frozen in a review (review.py) says what is needed; this says who may
give it, each time anew.
"""

from collections.abc import Sequence
from datetime import datetime

from services.approval.domain.review import Electorate, Review, ReviewState
from services.approval.domain.votes import verb_now
from shared.contracts.approval import Stage
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject
from shared.policy.row import RECENTLY_REBOUND, Answer
from shared.policy.rows import approve_verb
from shared.policy.selection import RuleChoice
from shared.policy.snapshot import Snapshot


def rules_now(snapshot: Snapshot, subject: ApprovalSubject) -> RuleChoice:
    """The rules, stages or auto-approval that hold for the subject; an extension's length is the whole."""
    return snapshot.rules_for(subject.account_id, subject.set_id, subject.length)


def electorate_of(
    snapshot: Snapshot, stages: Sequence[Stage], subject: ApprovalSubject, now: datetime
) -> Electorate:
    """Stage by stage, everybody whom the policy lets vote there, by user name."""
    return tuple(
        _persons(
            snapshot,
            snapshot.who_may(
                approve_verb(stage.rule_id, stage.index),
                subject.account_id,
                subject.set_id,
                duration=subject.length,
                now=now,
            ),
        )
        for stage in stages
    )


def electorate_now(snapshot: Snapshot, review: Review, now: datetime) -> Electorate | None:
    """The electorate by which an open review's votes count; None once it is closed."""
    if review.state is not ReviewState.OPEN:
        return None
    return electorate_of(snapshot, review.stages, review.subject, now)


def ask(snapshot: Snapshot, review: Review, user_id: str, now: datetime) -> Answer:
    """The policy's answer to this person's vote on the open stage; nobody votes while quiet."""
    subject = review.subject
    if snapshot.sign_ins.quiet_until(user_id, now) is not None:
        return RECENTLY_REBOUND
    return snapshot.may(
        user_id,
        verb_now(review),
        subject.account_id,
        subject.set_id,
        duration=subject.length,
        now=now,
    )


def may_decide(snapshot: Snapshot, review: Review, user_id: str, now: datetime) -> bool:
    """Whether a vote of this person would be counted now, as far as guards and policy go."""
    if not review.waits(now) or user_id in review.used_up:
        return False
    return ask(snapshot, review, user_id, now).allowed


def deciders(snapshot: Snapshot, review: Review, now: datetime) -> tuple[Person, ...]:
    """Who may still decide on the open stage; nobody once the review is closed or out of time."""
    if not review.waits(now):
        return ()
    return review.deciders(electorate_of(snapshot, review.stages, review.subject, now))


def may_see(snapshot: Snapshot, review: Review, user_id: str, now: datetime) -> bool:
    """Parties and voters; and whoever may read tickets there, as every approver of the target's rules may."""
    subject = review.subject
    if user_id in subject.parties or user_id in review.voters:
        return True
    return snapshot.may(user_id, "ticket.read", subject.account_id, subject.set_id, now=now).allowed


def sees_everything(snapshot: Snapshot, user_id: str, now: datetime) -> bool:
    return snapshot.may(user_id, "ticket.read", now=now).allowed


def _persons(snapshot: Snapshot, user_ids: frozenset[str]) -> tuple[Person, ...]:
    users = (snapshot.user(user_id) for user_id in user_ids)
    return tuple(sorted((Person.of(user) for user in users if user), key=lambda person: person.user_name))
