"""The inbox: every event arrives at least once; its effect happens once.

A consumer's command begins with `first_time`, in the transaction that has the effect. Two deliveries
at once are serialised by the primary key: the second waits for the first to commit, then sees it.
"""

from datetime import datetime

from shared.db import Conn


async def first_time(conn: Conn, event_id: str, *, now: datetime) -> bool:
    """Claim an event. False means its effect has already been committed: return without error."""
    row = await conn.fetchval(
        "INSERT INTO inbox (event_id, received_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING event_id",
        event_id,
        now,
    )
    return row is not None
