"""Open reviews follow the documents: new stages reopen them, memberships say whose votes count.

Level-triggered: what is frozen is compared with what holds now, on a nudge (a revision moved) and on a
timer, with the same result once or ten times. A background task of the service runs `keep_fresh`.
"""

import asyncio
from collections.abc import AsyncIterator

from services.approval import store
from services.approval.commands.reviews import begin_review, weigh
from services.approval.domain import eligibility
from services.approval.domain.life import outdated, void
from services.approval.domain.review import Change, Origin, Review, ReviewState
from services.approval.domain.votes import move_on
from services.approval.settings import ApprovalSettings
from shared.context import Context
from shared.contracts.event import Revisions
from shared.database.pool import Conn, transaction
from shared.messaging import outbox
from shared.observability.logs import logger

BATCH = 200

log = logger("refresh")


async def keep_fresh(context: Context, settings: ApprovalSettings) -> None:
    """Refresh whenever the documents' revisions moved, and now and then without."""
    loop = asyncio.get_running_loop()
    seen: Revisions | None = None
    due = loop.time()
    while True:
        revisions = context.world.revisions
        if context.tables.ready and (revisions != seen or loop.time() >= due):
            await refresh_reviews(context)
            seen, due = revisions, loop.time() + settings.refresh_every_s
        await asyncio.sleep(settings.refresh_poll_s)


async def refresh_reviews(context: Context) -> int:
    """Bring every open review in line with the documents; returns how many were opened anew."""
    async with transaction(context.pool) as conn:
        await store.drop_ended_grants(conn, now=context.clock.now())
    reopened = 0
    async for batch in _batches(context):
        for review in batch:
            reopened += await _refresh(context, review)
    if reopened:
        log.info("reviews opened anew", count=reopened)
    return reopened


async def _batches(context: Context) -> AsyncIterator[list[Review]]:
    after = ""
    while True:
        async with context.pool.acquire() as conn:
            batch = await store.some_open_reviews(conn, after=after, limit=BATCH)
        if not batch:
            return
        yield batch
        after = batch[-1].id


async def _refresh(context: Context, seen: Review) -> bool:
    """Look without a lock first: nearly always there is nothing to do."""
    if not _is_ours(context, seen):
        return False
    if not _outdated(context, seen) and not _stage_moved(context, seen):
        async with context.pool.acquire() as conn:
            if await store.snapshot(conn, seen.id, stage=seen.stage) == _deciders(context, seen):
                return False
    async with transaction(context.pool) as conn:
        review = await store.lock_review(conn, seen.id)
        if review is None or not _is_ours(context, review):
            return False
        if _outdated(context, review):
            await _reopen(context, conn, review)
            return True
        if _stage_moved(context, review):
            await _move(context, conn, review)
            return False
        people = _deciders(context, review)
        await store.replace_approvers(conn, review.id, stage=review.stage, user_ids=people)
        return False


async def _reopen(context: Context, conn: Conn, review: Review) -> None:
    origin = Origin(context.actor, None, context.clock.now())
    change = void(Change(review), origin, why="the approval rules for this target changed")
    await store.save(conn, review, change)
    await outbox.append(conn, context.service, *change.facts)
    await begin_review(context, conn, review.reviewed, ticket_version=review.ticket_version, origin=origin)


async def _move(context: Context, conn: Conn, review: Review) -> None:
    """A stage lacks a vote that it had, or has it back: the first that lacks any is the open one."""
    origin = Origin(context.actor, None, context.clock.now())
    electorate = eligibility.electorate_of(context.world, review.stages, review.reviewed, origin.at)
    weighing = await weigh(conn, review.reviewed, origin)
    change = move_on(Change(review), electorate, weighing, origin, revisions=context.world.revisions)
    await store.save(conn, review, change)
    await outbox.append(conn, context.service, *change.facts)
    log.info("a stage was opened again", review=review.id, stage=change.review.stage)


def _is_ours(context: Context, review: Review) -> bool:
    """Not timed out, and not opened on newer documents: a replica that lags would turn the review back."""
    waiting = review.state is ReviewState.OPEN and context.clock.now() < review.expires_at
    known = all(context.world.covers(wanted) for wanted in review.decided_on)
    return waiting and context.tables.ready and known


def _outdated(context: Context, review: Review) -> bool:
    return outdated(review, eligibility.rules_now(context.world, review.reviewed))


def _stage_moved(context: Context, review: Review) -> bool:
    """Whether votes count no longer, or again, so that another stage is the one that waits."""
    if not review.votes:
        return False
    now = context.clock.now()
    electorate = eligibility.electorate_of(context.world, review.stages, review.reviewed, now)
    return review.waiting_stage(electorate) != review.stage


def _deciders(context: Context, review: Review) -> frozenset[str]:
    people = eligibility.deciders(context.world, review, context.clock.now())
    return frozenset(person.user_id for person in people)
