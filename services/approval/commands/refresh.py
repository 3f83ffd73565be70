"""Open reviews follow the documents: new stages reopen them, memberships say whose votes count.

Level-triggered: what is frozen is compared with what holds now, on a nudge (a revision moved) and on a
timer, with the same result once or ten times. A background task of the service runs `keep_fresh`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final

from services.approval.commands.reviews import begin_review
from services.approval.domain import eligibility
from services.approval.domain.lifecycle import note_electorate, outdated, void
from services.approval.domain.review import Electorate, Review
from services.approval.domain.votes import open_next_stage
from services.approval.settings import ApprovalSettings
from services.approval.store import background, reviews
from shared.context import Context
from shared.contracts.change import Change, Origin
from shared.contracts.event import Revisions
from shared.contracts.subject import SubjectKind
from shared.database.unit_of_work import UnitOfWork
from shared.observability.logs import logger
from shared.policy.snapshot import Snapshot

BATCH: Final = 200
UNAPPROVABLE: Final = "review_unapprovable/"
"""How the keys of its alerts begin; docs/runbook.md explains them under this word."""

log = logger("refresh")


async def keep_fresh(context: Context, settings: ApprovalSettings) -> None:
    """Refresh whenever the documents' revisions moved, and now and then without."""
    loop = asyncio.get_running_loop()
    seen: Revisions | None = None
    due = loop.time()
    while True:
        revisions = context.policy.known().revisions
        if context.policy.ready and (revisions != seen or loop.time() >= due):
            await refresh_reviews(context)
            seen, due = revisions, loop.time() + settings.refresh_every_s
        await asyncio.sleep(settings.refresh_poll_s)


async def refresh_reviews(context: Context) -> int:
    """Bring every open review in line with the documents; returns how many were opened anew."""
    async with context.unit_of_work() as work:
        await background.drop_ended_grants(work.conn, now=context.clock.now())
    reopened = 0
    async for batch, recorded in _batches(context):
        for review in batch:
            if _is_due(context, review, recorded.get(review.id, frozenset())):
                async with context.unit_of_work() as work:
                    reopened += await refresh_review(context, work, review.id)
    if reopened:
        log.info("reviews opened anew", service=context.service, count=reopened)
    await _alert_unapprovable(context)
    return reopened


async def refresh_review(context: Context, work: UnitOfWork, review_id: str) -> bool:
    """Bring one review in line with the documents; returns whether it was opened anew."""
    origin = Origin(context.actor, context.clock.now())
    review = await reviews.lock_review(work.conn, review_id)
    snapshot = context.policy.known()
    if review is None or not _may_judge(context, snapshot, review):
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
    known = await background.load(work.conn, review.subject, now=origin.at)
    moved = open_next_stage(Change(review), electorate, known, origin, revisions=snapshot.revisions)
    change = note_electorate(moved, electorate, origin)
    await reviews.save(work, review, change)
    if change.state.waits(origin.at):
        await reviews.replace_approvers(
            work.conn, review.id, stage=change.state.stage, user_ids=_deciders(change.state, electorate)
        )


async def _batches(context: Context) -> AsyncIterator[tuple[list[Review], dict[str, frozenset[str]]]]:
    """Open reviews, and who was written down as able to decide on each."""
    after = ""
    while True:
        async with context.pool.acquire() as conn:
            batch = await reviews.some_open_reviews(conn, after=after, limit=BATCH)
            recorded = await reviews.recorded_approvers(conn, [review.id for review in batch])
        if not batch:
            return
        yield batch, recorded
        after = batch[-1].id


def _is_due(context: Context, review: Review, recorded: Collection[str]) -> bool:
    """Whether a refresh would change a review, judged without a lock: nearly always it would not."""
    snapshot, now = context.policy.known(), context.clock.now()
    if not _may_judge(context, snapshot, review):
        return False
    if outdated(review, eligibility.rules_now(snapshot, review.subject)):
        return True
    electorate = eligibility.electorate_of(snapshot, review.stages, review.subject, now)
    return (
        review.waiting_stage(electorate) != review.stage
        or review.can_be_filled(electorate) == (review.unapprovable_since is not None)
        or _deciders(review, electorate) != recorded
    )


def _may_judge(context: Context, snapshot: Snapshot, review: Review) -> bool:
    """Not timed out, and not opened on newer documents: a replica that lags would turn the review back."""
    now = context.clock.now()
    known = all(snapshot.is_as_new_as(wanted, now=now) for wanted in review.decided_on)
    return review.waits(now) and snapshot.complete and known


def _deciders(review: Review, electorate: Electorate) -> frozenset[str]:
    return frozenset(person.user_id for person in review.deciders(electorate))


async def _alert_unapprovable(context: Context) -> None:
    """Alert for each review that lacks people, as long as it does: by the rows, so after a start too."""
    async with context.pool.acquire() as conn:
        lacking = await reviews.unapprovable_reviews(conn, now=context.clock.now())
    for review in lacking:
        await context.alerts.raise_alert(
            key=_alert_key(review),
            summary="an open review has too few people left who could approve it",
            detail=_alert_detail(review),
        )
    standing = {_alert_key(review) for review in lacking}
    for alert in context.alerts.active:
        if alert.key.startswith(UNAPPROVABLE) and alert.key not in standing:
            await context.alerts.clear(alert.key)


def _alert_key(review: Review) -> str:
    return f"review_unapprovable/{review.id}"


def _alert_detail(review: Review) -> str:
    subject = review.subject
    asked = "a later end of " if subject.kind is SubjectKind.EXTENSION else ""
    return (
        f"review {review.id} of ticket {review.ticket_id}: {asked}{subject.set_name} on "
        f"{subject.account_name} ({subject.account_id}), in stage {review.stage} of {len(review.stages)}, "
        f"since {review.unapprovable_since:%Y-%m-%d %H:%M:%SZ}; it times out unless approvers are added"
    )
