"""SQL of what was stopped in a ticket: targets, grants, extensions. The rule is in domain/stops.py.

Of a target the highest revision counts. Added under the lock of the ticket's row.
"""

from datetime import datetime
from typing import Final

from services.approval.domain.stops import Stops
from shared.database.pool import Conn

_NO_REVISION: Final = 0


async def add(conn: Conn, ticket_id: str, stops: Stops, *, why: str, at: datetime, until: datetime) -> None:
    rows = [
        *(("target", one, revision) for one, revision in stops.targets.items()),
        *(("grant", one, _NO_REVISION) for one in sorted(stops.grants)),
        *(("extension", one, _NO_REVISION) for one in sorted(stops.extensions)),
    ]
    await conn.executemany(
        """
        INSERT INTO stop (kind, id, revision, ticket_id, why, at, until) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING
        """,
        [(*row, ticket_id, why, at, until) for row in rows],
    )


async def load(conn: Conn, ticket_id: str) -> Stops:
    rows = await conn.fetch(
        "SELECT kind, id, max(revision) AS revision FROM stop WHERE ticket_id = $1 GROUP BY kind, id",
        ticket_id,
    )
    return Stops(
        targets={row["id"]: row["revision"] for row in rows if row["kind"] == "target"},
        grants=frozenset(row["id"] for row in rows if row["kind"] == "grant"),
        extensions=frozenset(row["id"] for row in rows if row["kind"] == "extension"),
    )
