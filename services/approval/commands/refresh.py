"""One open review follows the documents: new stages open it anew, memberships say whose votes count.

Level-triggered: what is frozen is compared with what holds now, with the same result once or ten times.
services/approval/background.py says when.
"""

from collections.abc import Collection

from services.approval.commands.reviews import begin_review
from services.approval.commands.stages import open_next_stage
from services.approval.domain import eligibility
from services.approval.domain.lifecycle import note_electorate, outdated, void
from services.approval.domain.review import Electorate, Review
from services.approval.domain.votes import approve_complete
from services.approval.store import reviews
from shared.context import Context
from shared.contracts.change import Change, Origin
from shared.database.unit_of_work import UnitOfWork
from shared.policy.snapshot import Snapshot


async def refresh_review(context: Context, work: UnitOfWork, review_id: str) -> bool:
    """Bring one review in line with the documents; returns whether it was opened anew."""
    origin = context.origin()
    review = await reviews.lock_review(work.conn, review_id)
    snapshot = _snapshot_for(context, review) if review else None
    if review is None or snapshot is None:
        return False
    if outdated(review, eligibility.rules_now(snapshot, review.subject)):
        await _reopen(work, snapshot, review, origin)
        return True
    await _follow_electorate(work, snapshot, review, origin)
    return False


async def _reopen(work: UnitOfWork, snapshot: Snapshot, review: Review, origin: Origin) -> None:
    because = origin.because("the approval rules for this target changed")
    await reviews.save(work, review, void(Change(review), because))
    await begin_review(work, snapshot, review.subject, ticket_version=review.ticket_version, origin=origin)


async def _follow_electorate(work: UnitOfWork, snapshot: Snapshot, review: Review, origin: Origin) -> None:
    """A stage lacks a vote that it had, or has it back: the first that lacks any is the open one."""
    electorate = eligibility.electorate_of(snapshot, review.stages, review.subject, origin.at)
    decided = approve_complete(Change(review), electorate, origin, revisions=snapshot.revisions)
    moved = await open_next_stage(work, decided, electorate, origin)
    change = note_electorate(moved, electorate, origin)
    await reviews.save(work, review, change)
    if change.state.waits(origin.at):
        await reviews.replace_approvers(work.conn, review.id, _deciders(change.state, electorate))


def is_due(context: Context, review: Review, recorded: Collection[str]) -> bool:
    """Whether a refresh would change a review, judged without a lock: nearly always it would not."""
    snapshot, now = _snapshot_for(context, review), context.clock.now()
    if snapshot is None:
        return False
    if outdated(review, eligibility.rules_now(snapshot, review.subject)):
        return True
    electorate = eligibility.electorate_of(snapshot, review.stages, review.subject, now)
    return (
        review.waiting_stage(electorate) != review.stage
        or review.can_be_filled(electorate) == (review.unapprovable_since is not None)
        or _deciders(review, electorate) != recorded
    )


def _snapshot_for(context: Context, review: Review) -> Snapshot | None:
    """None once it timed out, and if it was opened on newer documents: who lags would turn it back."""
    if not review.waits(context.clock.now()):
        return None
    return context.policy.snapshot_if_ready(*(revisions for revisions, _ in review.decided_on))


def _deciders(review: Review, electorate: Electorate) -> frozenset[str]:
    return frozenset(person.user_id for person in review.deciders(electorate))
