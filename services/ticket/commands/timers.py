"""What time does to tickets: pending targets time out, ended tickets close. Leaderless and repeatable."""

import asyncio

from services.ticket import store
from services.ticket.commands.telling import Origin, say
from services.ticket.domain import life
from services.ticket.settings import TicketSettings
from shared.context import Context
from shared.contracts.ticket import TargetState, TicketClosed, TicketTimedOut
from shared.database.pool import transaction

BATCH = 50


async def run(context: Context, settings: TicketSettings) -> None:
    while True:
        while await time_out_due(context) or await close_due(context):
            pass
        await asyncio.sleep(settings.timer_every.total_seconds())


async def time_out_due(context: Context) -> int:
    """One batch of tickets whose pending targets were decided by nobody in time; how many."""
    now = context.clock.now()
    origin = Origin(context.actor, None, now, "nobody decided in time")
    async with transaction(context.pool) as conn:
        due = await store.due_for_time_out(conn, now=now, limit=BATCH)
        for ticket in await store.load_all(conn, due):
            targets = life.due_for_time_out(ticket, now)
            changed = life.settle(ticket, targets, TargetState.TIMED_OUT, at=now)
            await say(conn, changed, TicketTimedOut, origin, targets=targets)
    return len(due)


async def close_due(context: Context) -> int:
    """One batch of tickets none of whose credentials can live any more; how many."""
    now = context.clock.now()
    origin = Origin(context.actor, None, now, "no credential issued through this ticket can live any more")
    async with transaction(context.pool) as conn:
        due = await store.due_for_closing(conn, now=now, limit=BATCH)
        for ticket in await store.load_all(conn, due):
            await say(conn, life.close(ticket, at=now), TicketClosed, origin)
    return len(due)
