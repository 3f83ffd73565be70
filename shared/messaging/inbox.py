"""The inbox: every event arrives at least once; its effect happens once.

Events are claimed in the transaction that has their effects. Two deliveries at once are serialised by the
primary key: the second waits for the first to commit, then sees it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from shared.database.pool import Conn
from shared.messaging.envelope import Received

Identity: TypeAlias = tuple[str, str]
"""An event's id and its source: a service that reuses another's id, by accident or not, takes nothing away
from it."""


def identity(received: Received[Any]) -> Identity:
    return received.id, received.envelope.source


async def claim(conn: Conn, events: Sequence[Received[Any]], *, now: datetime) -> set[Identity]:
    """Claim events. Those that are not in the answer have had their effect: it is committed.

    In the order of ids, so that two claims of the same events wait for each other instead of both.
    """
    if not events:
        return set()
    claimed = sorted({identity(event) for event in events})
    rows = await conn.fetch(
        """
        INSERT INTO inbox (event_id, source, received_at)
        SELECT event_id, source, $3 FROM unnest($1::uuid[], $2::text[]) AS claimed (event_id, source)
        ON CONFLICT DO NOTHING RETURNING event_id, source
        """,
        [event_id for event_id, _ in claimed],
        [source for _, source in claimed],
        now,
    )
    return {(str(row["event_id"]), row["source"]) for row in rows}


async def give_back(conn: Conn, events: Iterable[Received[Any]]) -> None:
    """In the transaction that claimed them: they have had no effect and are claimed again later."""
    ids = [identity(event) for event in events]
    if ids:
        await conn.execute(
            """
            DELETE FROM inbox USING unnest($1::uuid[], $2::text[]) AS given (event_id, source)
            WHERE inbox.event_id = given.event_id AND inbox.source = given.source
            """,
            [event_id for event_id, _ in ids],
            [source for _, source in ids],
        )
