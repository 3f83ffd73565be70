"""The background task of the ticket service: what time does, in batches. Leaderless, repeatable."""

import asyncio
from collections.abc import Awaitable, Callable

from services.ticket.commands.timers import close_due, time_out_due
from services.ticket.settings import TicketSettings
from shared.context import Context
from shared.database.unit_of_work import UnitOfWork


async def run(context: Context, settings: TicketSettings) -> None:
    while True:
        while await run_once(context, time_out_due) or await run_once(context, close_due):
            pass
        await asyncio.sleep(settings.timer_every.total_seconds())


async def run_once(context: Context, command: Callable[[Context, UnitOfWork], Awaitable[int]]) -> int:
    """One batch in a transaction of its own; how many tickets were due."""
    async with context.unit_of_work() as work:
        return await command(context, work)
