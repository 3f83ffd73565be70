"""What time does to tickets: pending targets time out, ended tickets close.

services/ticket/background.py says when.
"""

from typing import Final

from services.ticket.domain import endings
from services.ticket.store import tickets as store
from shared.context import Context
from shared.database.unit_of_work import UnitOfWork

BATCH: Final = 50


async def time_out_due(context: Context, work: UnitOfWork) -> int:
    """One batch of tickets whose pending targets were decided by nobody in time; how many."""
    origin = context.origin()
    due = await store.due_for_time_out(work.conn, now=origin.at, limit=BATCH)
    for ticket in await store.load_all(work, due):
        await store.save(work, ticket, endings.time_out(ticket, origin))
    return len(due)


async def close_due(context: Context, work: UnitOfWork) -> int:
    """One batch of tickets none of whose credentials can live any more; how many."""
    origin = context.origin()
    due = await store.due_for_closing(work.conn, now=origin.at, limit=BATCH)
    for ticket in await store.load_all(work, due):
        await store.save(work, ticket, endings.close(ticket, origin))
    return len(due)
