"""Read-only SQL for auditors, tickets' trails and exports. Records leave as the bytes that are stored.

Pages are cut by sequence, which is gapless and never changes, so a page read twice is the same page. Each
filter has rows that are in the order of the log, so that a page is a walk along one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final, LiteralString, TypeAlias

from shared.database.filters import Condition, Where, given, query
from shared.database.pool import Conn


@dataclass(frozen=True)
class Filters:
    """What to look for; all that are given must hold. Times are of the fact: `since <= t < until`."""

    ticket_id: str | None = None
    actor: str | None = None
    account_id: str | None = None
    user_id: str | None = None
    """Who did it, whose ticket it is about, or whom a mail was for."""
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
    walk = await _walk(conn, filters)
    wanted = _matching(walk, filters, await _within(conn, filters, piece))
    rows = await conn.fetch(*query(walk.page, wanted, limit=limit))
    return [Item(row["sequence"], row["ocsf"]) for row in rows]


async def count(conn: Conn, filters: Filters, piece: Range) -> int:
    """How many records `page` would give in all."""
    walk = await _walk(conn, filters)
    wanted = _matching(walk, filters, await _within(conn, filters, piece))
    found: int = await conn.fetchval(*query(walk.count, wanted))
    return found


async def one(conn: Conn, sequence: int) -> Item | None:
    row = await conn.fetchrow("SELECT sequence, ocsf FROM audit_event WHERE sequence = $1", sequence)
    return None if row is None else Item(row["sequence"], row["ocsf"])


async def head(conn: Conn) -> int:
    """The last sequence; 0 while nothing is logged."""
    last: int = await conn.fetchval("SELECT last_sequence FROM log_head")
    return last


Bounds: TypeAlias = Callable[[Filters, Range], Sequence[Condition]]


@dataclass(frozen=True)
class Walk:
    """Rows in the order of the log, along one index: all, or those of what has few. A page is read along it.

    Which it is follows from the filters and is no choice of PostgreSQL's, which only knows averages.
    """

    page: LiteralString
    count: LiteralString
    bounds: Bounds
    """The piece of the log, and all that is looked for but the times."""


# Bounds that are compared as rows are in the order of one index. An equality beside them would give
# PostgreSQL the choice to walk the whole log instead.
_LOG: Final = Walk(
    "SELECT sequence, ocsf FROM audit_event WHERE {where} ORDER BY sequence LIMIT {limit}",
    "SELECT count(*) FROM audit_event WHERE {where}",
    lambda _, piece: (("sequence > {}", piece.after), ("sequence <= {}", piece.last)),
)
_TICKET: Final = Walk(
    "SELECT sequence, ocsf FROM audit_event WHERE {where} ORDER BY sequence LIMIT {limit}",
    "SELECT count(*) FROM audit_event WHERE {where}",
    lambda filters, piece: (
        ("ticket_id = {}", filters.ticket_id),
        ("sequence > {}", piece.after),
        ("sequence <= {}", piece.last),
        ("actor_id = {}", filters.actor),
        ("event_code = {}", filters.type),
        ("{} = ANY (account_ids)", filters.account_id),
        (
            "(SELECT true FROM log_person AS p WHERE p.user_id = {} AND p.sequence = audit_event.sequence)",
            filters.user_id,
        ),
    ),
)
_TYPE: Final = Walk(
    "SELECT sequence, ocsf FROM audit_event WHERE {where} ORDER BY event_code, sequence LIMIT {limit}",
    "SELECT count(*) FROM audit_event WHERE {where}",
    lambda filters, piece: (
        ("(event_code, sequence) > ({}, {})", filters.type, piece.after),
        ("(event_code, sequence) <= ({}, {})", filters.type, piece.last),
    ),
)
_ACTOR: Final = Walk(
    "SELECT sequence, ocsf FROM audit_event WHERE {where} ORDER BY actor_id, sequence LIMIT {limit}",
    "SELECT count(*) FROM audit_event WHERE {where}",
    lambda filters, piece: (
        ("(actor_id, sequence) > ({}, {})", filters.actor, piece.after),
        ("(actor_id, sequence) <= ({}, {})", filters.actor, piece.last),
    ),
)
_ACTOR_AND_TYPE: Final = Walk(
    """
    SELECT sequence, ocsf FROM audit_event WHERE {where}
    ORDER BY actor_id || ' ' || event_code, sequence LIMIT {limit}
    """,
    "SELECT count(*) FROM audit_event WHERE {where}",
    lambda filters, piece: (
        (
            "(actor_id || ' ' || event_code, sequence) > ({}::text || ' ' || {}::text, {})",
            filters.actor,
            filters.type,
            piece.after,
        ),
        (
            "(actor_id || ' ' || event_code, sequence) <= ({}::text || ' ' || {}::text, {})",
            filters.actor,
            filters.type,
            piece.last,
        ),
    ),
)
_ACCOUNT: Final = Walk(
    """
    WITH page AS (SELECT sequence FROM log_account AS walked WHERE {where} ORDER BY sequence LIMIT {limit})
    SELECT sequence, (SELECT ocsf FROM audit_event WHERE audit_event.sequence = page.sequence) AS ocsf
    FROM page ORDER BY sequence
    """,
    "SELECT count(*) FROM log_account AS walked WHERE {where}",
    lambda filters, piece: (
        ("account_id = {}", filters.account_id),
        ("sequence > {}", piece.after),
        ("sequence <= {}", piece.last),
        ("actor_id = {}", filters.actor),
        ("event_code = {}", filters.type),
        (
            "(SELECT true FROM log_person AS p WHERE p.user_id = {} AND p.sequence = walked.sequence)",
            filters.user_id,
        ),
    ),
)
_PERSON: Final = Walk(
    """
    WITH page AS (SELECT sequence FROM log_person AS walked WHERE {where} ORDER BY sequence LIMIT {limit})
    SELECT sequence, (SELECT ocsf FROM audit_event WHERE audit_event.sequence = page.sequence) AS ocsf
    FROM page ORDER BY sequence
    """,
    "SELECT count(*) FROM log_person AS walked WHERE {where}",
    lambda filters, piece: (
        ("user_id = {}", filters.user_id),
        ("sequence > {}", piece.after),
        ("sequence <= {}", piece.last),
        ("actor_id = {}", filters.actor),
        ("event_code = {}", filters.type),
        (
            "(SELECT true FROM log_account AS a WHERE a.account_id = {} AND a.sequence = walked.sequence)",
            filters.account_id,
        ),
    ),
)


async def _walk(conn: Conn, filters: Filters) -> Walk:
    """Along a ticket's records, which are few; else an account's or a person's; else an actor's or type's."""
    if filters.ticket_id is not None:
        return _TICKET
    if filters.account_id is not None and filters.user_id is not None:
        return _PERSON if await _person_has_fewer(conn, filters) else _ACCOUNT
    if filters.account_id is not None:
        return _ACCOUNT
    if filters.user_id is not None:
        return _PERSON
    if filters.actor is not None:
        return _ACTOR if filters.type is None else _ACTOR_AND_TYPE
    return _LOG if filters.type is None else _TYPE


async def _person_has_fewer(conn: Conn, filters: Filters) -> bool:
    """Rows than the account, as far as it pays to count."""
    fewer: bool = await conn.fetchval(
        """
        SELECT (SELECT count(*) FROM (SELECT FROM log_person WHERE user_id = $1 LIMIT 5000) AS p)
            < (SELECT count(*) FROM (SELECT FROM log_account WHERE account_id = $2 LIMIT 5000) AS a)
        """,
        filters.user_id,
        filters.account_id,
    )
    return fewer


def _matching(walk: Walk, filters: Filters, piece: Range) -> Where:
    """What page and count look for."""
    return given(
        *walk.bounds(filters, piece),
        ("occurred_at >= {}", filters.since),
        ("occurred_at < {}", filters.until),
    )


_HOURS: Final = "SELECT min(first_sequence) AS first, max(last_sequence) AS last FROM log_hour WHERE {where}"


async def _within(conn: Conn, filters: Filters, piece: Range) -> Range:
    """The part of the piece that holds all facts of the time that is asked for, and little else."""
    hours = given(
        ("hour >= date_trunc('hour', {}::timestamptz, 'UTC')", filters.since), ("hour < {}", filters.until)
    )
    if not hours.conditions:
        return piece
    row = await conn.fetchrow(*query(_HOURS, hours))
    if row is None or row["first"] is None:
        return replace(piece, last=piece.after)
    return Range(max(piece.after, row["first"] - 1), min(piece.last, row["last"]))
