"""Read-only SQL for auditors, tickets' trails and exports. Records leave as the bytes that are stored.

Pages are cut by sequence, which is gapless and never changes, so a page read twice is the same page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from shared.database.pool import Conn, planned_anew


@dataclass(frozen=True)
class Filters:
    """What to look for; all that are given must hold. Times are of the fact: `since <= t < until`."""

    ticket_id: str | None = None
    actor: str | None = None
    account_id: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def named(self) -> dict[str, str]:
        """The filters in use, as the fact about the reading states them."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: str(value) for name, value in given if value is not None}


@dataclass(frozen=True)
class Range:
    """A piece of the log: `after < sequence <= last`."""

    after: int
    last: int


@dataclass(frozen=True)
class Item:
    sequence: int
    ocsf: bytes


async def page(conn: Conn, filters: Filters, piece: Range, *, limit: int) -> list[Item]:
    """The first matching records of the piece, in the order of the log."""
    async with planned_anew(conn):
        rows = await conn.fetch(
            """
            SELECT sequence, ocsf FROM audit_event
            WHERE sequence > $1 AND sequence <= $2
                AND ($3::text IS NULL OR ticket_id = $3)
                AND ($4::text IS NULL OR actor_id = $4)
                AND ($5::text IS NULL OR account_ids @> ARRAY[$5])
                AND ($6::text IS NULL OR event_code = $6)
                AND ($7::timestamptz IS NULL OR occurred_at >= $7)
                AND ($8::timestamptz IS NULL OR occurred_at < $8)
            ORDER BY sequence LIMIT $9
            """,
            *_arguments(filters, piece),
            limit,
        )
    return [Item(row["sequence"], row["ocsf"]) for row in rows]


async def count(conn: Conn, filters: Filters, piece: Range) -> int:
    """How many records `page` would give in all; the same conditions."""
    async with planned_anew(conn):
        found: int = await conn.fetchval(
            """
            SELECT count(*) FROM audit_event
            WHERE sequence > $1 AND sequence <= $2
                AND ($3::text IS NULL OR ticket_id = $3)
                AND ($4::text IS NULL OR actor_id = $4)
                AND ($5::text IS NULL OR account_ids @> ARRAY[$5])
                AND ($6::text IS NULL OR event_code = $6)
                AND ($7::timestamptz IS NULL OR occurred_at >= $7)
                AND ($8::timestamptz IS NULL OR occurred_at < $8)
            """,
            *_arguments(filters, piece),
        )
    return found


async def one(conn: Conn, sequence: int) -> Item | None:
    row = await conn.fetchrow("SELECT sequence, ocsf FROM audit_event WHERE sequence = $1", sequence)
    return None if row is None else Item(row["sequence"], row["ocsf"])


async def head(conn: Conn) -> int:
    """The last sequence; 0 while nothing is logged."""
    last: int = await conn.fetchval("SELECT last_sequence FROM log_head")
    return last


def _arguments(filters: Filters, piece: Range) -> Sequence[object]:
    return (
        piece.after,
        piece.last,
        filters.ticket_id,
        filters.actor,
        filters.account_id,
        filters.type,
        filters.since,
        filters.until,
    )
