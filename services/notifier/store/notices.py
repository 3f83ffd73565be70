"""SQL of what mails are about: tickets as last known, and the facts that are mailed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.notifier.domain.notice import Notice, needed_until, ticket_in, version_needed
from shared.contracts.registry import EVENTS
from shared.contracts.ticket import Ticket
from shared.database.locks import lock_names
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork

TICKETS: Final = 7303
"""The space of the names that lock a ticket."""


async def lock_tickets(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """Facts of one ticket one after the other, from whichever topic.

    Else a fact could be put aside for a ticket that another transaction is just saving, and neither would
    see the other.
    """
    await lock_names(work, ticket_ids, space=TICKETS)


async def save_ticket(conn: Conn, ticket: Ticket, *, now: datetime) -> None:
    """Keep the ticket if it is newer than what is known."""
    await conn.execute(
        """
        INSERT INTO known_ticket (id, version, body, learned_at, needed_until) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE
        SET version = excluded.version, body = excluded.body, learned_at = excluded.learned_at,
            needed_until = excluded.needed_until
        WHERE known_ticket.version < excluded.version
        """,
        ticket.id,
        ticket.version,
        ticket.model_dump_json(),
        now,
        needed_until(ticket),
    )


async def known_ticket(conn: Conn, ticket_id: str, *, version: int) -> Ticket | None:
    """The ticket in that version or a later one; None while it is not known."""
    body = await conn.fetchval(
        "SELECT body FROM known_ticket WHERE id = $1 AND version >= $2", ticket_id, version
    )
    return None if body is None else Ticket.model_validate_json(body)


def note(work: UnitOfWork, notice: Notice, *, now: datetime) -> None:
    """Keep a fact that is mailed, with all others of the unit; nobody looks for them before its commit.

    The inbox lets each come once.
    """
    work.collect(_insert, _row(notice, held=False, now=now))


async def put_aside(work: UnitOfWork, notice: Notice, *, now: datetime) -> None:
    """Keep a fact that waits for its ticket, at once: that may come in this very unit."""
    await _insert(work, [_row(notice, held=True, now=now)])


async def release_held(conn: Conn, ticket: Ticket) -> list[Notice]:
    """The facts that waited for this version of the ticket, now with it, in the order in which they came."""
    rows = await conn.fetch(
        """
        WITH released AS (
            UPDATE notice SET held = false, ticket = $2 WHERE ticket_id = $1 AND held AND needs <= $3
            RETURNING id, event_id, type, fact, ticket, received_at
        )
        SELECT id, event_id, type, fact, ticket FROM released ORDER BY received_at, id
        """,
        ticket.id,
        ticket.model_dump_json(),
        ticket.version,
    )
    return [read(row) for row in rows]


async def take_overdue(conn: Conn, *, received_before: datetime) -> list[Notice]:
    """Facts that waited too long. They stay held: a ticket that comes after all still reaches the others."""
    rows = await conn.fetch(
        """
        UPDATE notice SET overdue = true
        WHERE id IN (
            SELECT id FROM notice WHERE held AND NOT overdue AND received_at < $1
            ORDER BY received_at LIMIT 100 FOR UPDATE SKIP LOCKED
        )
        RETURNING id, event_id, type, fact, ticket
        """,
        received_before,
    )
    return [read(row) for row in rows]


async def of_deliveries(conn: Conn, delivery_ids: Sequence[UUID]) -> dict[UUID, list[Notice]]:
    """What each mail is about, in the order in which things happened."""
    rows = await conn.fetch(
        """
        SELECT link.delivery_id, n.id, n.event_id, n.type, n.fact, n.ticket
        FROM delivery_notice AS link JOIN notice AS n ON n.id = link.notice_id
        WHERE link.delivery_id = ANY($1)
        ORDER BY n.happened_at, n.received_at, n.id
        """,
        delivery_ids,
    )
    found: dict[UUID, list[Notice]] = {delivery_id: [] for delivery_id in delivery_ids}
    for row in rows:
        found[row["delivery_id"]].append(read(row))
    return found


def read(row: Any) -> Notice:
    """A row as a notice; facts of the ticket service have their ticket inside."""
    event = EVENTS[row["type"]].model_validate_json(row["fact"])
    ticket = ticket_in(event)
    if row["ticket"] is not None and ticket is None:
        ticket = Ticket.model_validate_json(row["ticket"])
    return Notice(str(row["id"]), str(row["event_id"]), event, ticket)


def _row(notice: Notice, *, held: bool, now: datetime) -> tuple[Any, ...]:
    event = notice.event
    apart = notice.ticket if ticket_in(event) is None else None
    return (
        notice.id,
        notice.event_id,
        notice.ticket_id,
        version_needed(event),
        event.TYPE,
        event.model_dump_json(),
        apart.model_dump_json() if apart else None,
        held,
        event.at,
        now,
    )


async def _insert(work: UnitOfWork, rows: Sequence[tuple[Any, ...]]) -> None:
    await work.conn.execute(
        """
        INSERT INTO notice (
            id, event_id, ticket_id, needs, type, fact, ticket, held, happened_at, received_at
        )
        SELECT id, event_id, ticket_id, needs, type, fact, ticket, held, happened_at, received_at
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::json[], $7::json[],
            $8::boolean[], $9::timestamptz[], $10::timestamptz[]
        ) AS new (id, event_id, ticket_id, needs, type, fact, ticket, held, happened_at, received_at)
        """,
        *map(list, zip(*rows, strict=True)),
    )
