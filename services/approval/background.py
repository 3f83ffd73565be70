"""The background task of the approval service: open reviews follow the documents, on a nudge and on a timer.

A nudge is a revision that moved. A pass does the same once or ten times; commands/refresh.py changes one.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from services.approval.commands.refresh import is_due, refresh_review
from services.approval.domain.review import Review
from services.approval.settings import ApprovalSettings
from services.approval.store import history, reviews
from shared.context import Context
from shared.contracts.event import Revisions
from shared.contracts.subject import SubjectKind
from shared.observability.logs import logger

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
        snapshot = context.policy.snapshot_if_ready()
        if snapshot is not None and (snapshot.revisions != seen or loop.time() >= due):
            await refresh_reviews(context)
            seen, due = snapshot.revisions, loop.time() + settings.refresh_every_s
        await asyncio.sleep(settings.refresh_poll_s)


async def refresh_reviews(context: Context) -> int:
    """Bring every open review in line with the documents; returns how many were opened anew."""
    async with context.unit_of_work() as work:
        await history.drop_ended_grants(work.conn, now=context.clock.now())
    reopened = 0
    async for review, recorded in _open_reviews(context):
        if is_due(context, review, recorded):
            async with context.unit_of_work() as work:
                reopened += await refresh_review(context, work, review.id)
    if reopened:
        log.info("reviews opened anew", service=context.service, count=reopened)
    await _alert_unapprovable(context)
    return reopened


async def _open_reviews(context: Context) -> AsyncIterator[tuple[Review, frozenset[str]]]:
    """Open reviews, each with who was written down as able to decide on it."""
    after = ""
    while True:
        async with context.pool.acquire() as conn:
            batch = await reviews.open_reviews_with_approvers(conn, after=after, limit=BATCH)
        for found in batch:
            yield found
            await asyncio.sleep(0)  # votes do not wait for a whole batch
        if len(batch) < BATCH:
            return
        after = batch[-1][0].id


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
