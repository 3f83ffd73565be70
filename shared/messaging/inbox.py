"""The inbox: every event arrives at least once; its effect happens once.

A consumer's command begins with `first_time`, in the transaction that has the effect. Two deliveries
at once are serialised by the primary key: the second waits for the first to commit, then sees it.
"""

from datetime import datetime
from typing import Any

from shared.database.pool import Conn
from shared.messaging.envelope import Received


async def first_time(conn: Conn, received: Received[Any], *, now: datetime) -> bool:
    """Claim an event. False means its effect has already been committed: return without error.

    An event is its id and its source: a service that reuses another's id, by accident or not, takes
    nothing away from it.
    """
    row = await conn.fetchval(
        "INSERT INTO inbox (event_id, source, received_at) VALUES ($1, $2, $3) "
        "ON CONFLICT DO NOTHING RETURNING event_id",
        received.id,
        received.envelope.source,
        now,
    )
    return row is not None
