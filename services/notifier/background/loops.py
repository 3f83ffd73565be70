"""The background tasks: senders that never stop, and a monitor that raises and clears alerts."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge

from services.notifier.background.sending import send_due
from services.notifier.commands.notices import release_overdue
from services.notifier.domain.delivery import Deferred, Outcome
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from services.notifier.store import deliveries
from shared.context import Context
from shared.foundation.nudges import nudged
from shared.observability.logs import logger

ResultT = TypeVar("ResultT")

log = logger("notifier")

STRUGGLING_FROM = 3
"""Attempts after which a pending mail is worth an alert; a grey-listing server needs two."""
LONGEST_PAUSE = timedelta(seconds=60)
STOP_WITHIN_S = 10.0
KEEP_CONNECTION = timedelta(seconds=2)
"""To the mail server, for the next mail: a new one costs more than the mail does."""

MAILS = Counter("jit_mails_total", "Attempts to send a mail, by what the server made of it", ["outcome"])
MAILS_PENDING = Gauge("jit_mails_pending", "Mails that are not sent yet")
MAILS_STRUGGLING = Gauge("jit_mails_struggling", "Pending mails that were tried several times")


async def run_sender(context: Context, settings: NotifierSettings, nudge: asyncio.Event) -> None:
    """One sender. Sends while there is something due, then waits for a nudge or the timer."""
    mailer = Mailer(settings.smtp, within=settings.mail_send_within)
    failures = 0
    try:
        while True:
            nudge.clear()
            outcomes = await _send_when_ready(context, settings, mailer)
            if any(isinstance(outcome, Deferred) and outcome.server for outcome in outcomes):
                # All others would fare the same: let the server be for a while, not once per waiting mail.
                await asyncio.sleep(min(2**failures, LONGEST_PAUSE.total_seconds()))
                failures = min(failures + 1, 10)
                continue
            if outcomes:
                failures = 0
                continue
            if not await nudged(nudge, KEEP_CONNECTION.total_seconds()):
                await _uninterrupted(mailer.close())
                await nudged(nudge, settings.mail_check_every.total_seconds())
    finally:
        await mailer.close()


async def run_monitor(context: Context, settings: NotifierSettings) -> None:
    while True:
        await monitor(context, settings)
        await asyncio.sleep(settings.mail_check_every.total_seconds())


async def monitor(context: Context, settings: NotifierSettings) -> None:
    """What has no event of its own: facts that waited too long, and mail that does not get away."""
    async with context.unit_of_work() as work:
        await release_overdue(context, work, settings=settings)
        backlog = await deliveries.backlog(work.conn, struggling_from=STRUGGLING_FROM)
    MAILS_PENDING.set(backlog.pending)
    MAILS_STRUGGLING.set(backlog.struggling)
    if backlog.struggling and backlog.oldest is not None:
        await context.alerts.raise_alert(
            key="undeliverable_mail",
            summary="notifier: undeliverable mail",
            detail=f"{backlog.struggling} of {backlog.pending} pending mails were tried several times, the "
            f"oldest is of {backlog.oldest:%Y-%m-%d %H:%M:%SZ}; one error: {backlog.last_error}. "
            "They are tried again. See GET /v1/deliveries?state=pending.",
        )
    else:
        await context.alerts.clear("undeliverable_mail")


async def _send_when_ready(context: Context, settings: NotifierSettings, mailer: Mailer) -> list[Outcome]:
    """Without the inventory nobody's address is known: the mail waits for it rather than go astray."""
    if context.policy.snapshot_if_ready() is None:
        return []
    outcomes = await _uninterrupted(send_due(context, mailer, settings=settings))
    for outcome in outcomes:
        MAILS.labels(type(outcome).__name__.lower()).inc()
    return outcomes


async def _uninterrupted(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """A stop lets the mail under way be sent and recorded; cut in between, it would be sent again.

    It also keeps the cancellation away from aiosmtplib, which loses one in `asyncio.wait_for` (Python
    3.11) when the server answers in that very moment.
    """
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working}, timeout=STOP_WITHIN_S)
        working.cancel()
        (result,) = await asyncio.gather(working, return_exceptions=True)
        if isinstance(result, Exception):  # raised here it would hide the cancellation, and the stop with it
            log.exception("a mail failed while the service stopped", exc_info=result)
        raise
