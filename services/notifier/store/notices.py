"""SQL of what mails are about: tickets as last known, and the facts that are mailed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from services.notifier.domain.known import KnownTicket, needed_until
from services.notifier.domain.notice import Notice
from shared.contracts.registry import EVENTS
from shared.database.locks import lock_names
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork

TICKETS: Final = 7303
"""The space of the names that lock a ticket."""
_KNOWN: Final = TypeAdapter(KnownTicket)


@dataclass(frozen=True)
class _Locked:
    """A ticket that the unit has locked, as it is by now."""

    known: KnownTicket | None
    waiting: tuple[Notice, ...] = ()
    """The facts that wait for more of it, in the order in which they came."""
    unwritten: frozenset[str] = frozenset()
    """Ids of those that came in this unit."""


async def lock_tickets(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """Facts of one ticket one after the other, from whichever topic; what is known of each is read along.

    Else a fact could be put aside for a ticket that another transaction is just saving, and neither would
    see the other.
    """
    locked = work.held(_Locked)
    new = [ticket_id for ticket_id in ticket_ids if ticket_id not in locked]
    if not new:
        return
    await lock_names(work, new, space=TICKETS)
    rows = await work.conn.fetch(
        """
        SELECT wanted.id, k.body,
            EXISTS (SELECT 1 FROM notice AS n WHERE n.ticket_id = wanted.id AND n.held) AS waited_for
        FROM unnest($1::text[]) AS wanted (id) LEFT JOIN known_ticket AS k ON k.id = wanted.id
        """,
        new,
    )
    for row in rows:
        locked[row["id"]] = _Locked(None if row["body"] is None else _KNOWN.validate_json(row["body"]))
    await _read_waiting(work, [row["id"] for row in rows if row["waited_for"]])


async def _read_waiting(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    if not ticket_ids:
        return
    rows = await work.conn.fetch(
        """
        SELECT id, event_id, ticket_id, type, fact, ticket FROM notice WHERE ticket_id = ANY($1) AND held
        ORDER BY received_at, id
        """,
        ticket_ids,
    )
    for row in rows:
        _append_waiting(work, row["ticket_id"], read(row))


def known_ticket(work: UnitOfWork, ticket_id: str) -> KnownTicket | None:
    """What is known of a locked ticket; None before any fact of it came."""
    return work.held(_Locked)[ticket_id].known


def save_ticket(work: UnitOfWork, known: KnownTicket, *, now: datetime) -> None:
    """Keep what is known of a locked ticket by now; it is written once for the unit."""
    locked = work.held(_Locked)
    locked[known.ticket.id] = replace(locked[known.ticket.id], known=known)
    work.collect(_save, (known, now))


def put_aside(work: UnitOfWork, ticket_id: str, notice: Notice, *, now: datetime) -> None:
    """Keep a fact that waits for more of a locked ticket; not if that comes in this very unit."""
    _append_waiting(work, ticket_id, notice)
    locked = work.held(_Locked)
    locked[ticket_id] = replace(locked[ticket_id], unwritten=locked[ticket_id].unwritten | {notice.id})
    work.collect(_insert_waiting, (notice, now))


def waiting_for(work: UnitOfWork, ticket_id: str) -> tuple[Notice, ...]:
    """The facts that wait for more of a locked ticket, in the order in which they came."""
    return work.held(_Locked)[ticket_id].waiting


def release(work: UnitOfWork, ticket_id: str, notice: Notice) -> bool:
    """It waits no longer, and is kept with what is known by now; whether it is kept yet."""
    locked = work.held(_Locked)
    one = locked[ticket_id]
    waiting = tuple(other for other in one.waiting if other.id != notice.id)
    locked[ticket_id] = replace(one, waiting=waiting, unwritten=one.unwritten - {notice.id})
    if is_kept := notice.id not in one.unwritten:
        work.collect(_release, notice)
    return is_kept


def _append_waiting(work: UnitOfWork, ticket_id: str, notice: Notice) -> None:
    locked = work.held(_Locked)
    locked[ticket_id] = replace(locked[ticket_id], waiting=(*locked[ticket_id].waiting, notice))


async def _insert_waiting(work: UnitOfWork, put_aside: Sequence[tuple[Notice, datetime]]) -> None:
    waiting = {id_ for locked in work.held(_Locked).values() for id_ in locked.unwritten}
    if still := [(notice, now) for notice, now in put_aside if notice.id in waiting]:
        await insert(work.conn, still, held=True)


async def insert(conn: Conn, received: Sequence[tuple[Notice, datetime]], *, held: bool) -> None:
    """Keep facts with when they came. The inbox lets each come once."""
    rows = [_row(notice, held=held, now=now) for notice, now in received]
    await conn.execute(
        """
        INSERT INTO notice (id, event_id, ticket_id, type, fact, ticket, held, happened_at, received_at)
        SELECT id, event_id, ticket_id, type, fact, ticket, held, happened_at, received_at
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::json[], $6::json[], $7::boolean[],
            $8::timestamptz[], $9::timestamptz[]
        ) AS new (id, event_id, ticket_id, type, fact, ticket, held, happened_at, received_at)
        """,
        *map(list, zip(*rows, strict=True)),
    )


async def _release(work: UnitOfWork, waited: Sequence[Notice]) -> None:
    await work.conn.execute(
        """
        UPDATE notice AS n SET held = false, ticket = given.ticket::json
        FROM unnest($1::uuid[], $2::text[]) AS given (id, ticket) WHERE n.id = given.id
        """,
        [notice.id for notice in waited],
        [_json(notice.known) for notice in waited],
    )


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
    """A row as a notice."""
    event = EVENTS[row["type"]].model_validate_json(row["fact"])
    known = None if row["ticket"] is None else _KNOWN.validate_json(row["ticket"])
    return Notice(str(row["id"]), str(row["event_id"]), event, known)


def _row(notice: Notice, *, held: bool, now: datetime) -> tuple[Any, ...]:
    event = notice.event
    return (
        notice.id,
        notice.event_id,
        notice.ticket_id,
        event.TYPE,
        event.model_dump_json(),
        _json(notice.known),
        held,
        event.at,
        now,
    )


async def _save(work: UnitOfWork, saved: Sequence[tuple[KnownTicket, datetime]]) -> None:
    """The last that is known of each."""
    last = {known.ticket.id: (known, now) for known, now in saved}
    await work.conn.execute(
        """
        INSERT INTO known_ticket (id, body, learned_at, needed_until)
        SELECT id, body, learned_at, needed_until
        FROM unnest($1::text[], $2::json[], $3::timestamptz[], $4::timestamptz[])
            AS new (id, body, learned_at, needed_until)
        ON CONFLICT (id) DO UPDATE
        SET body = excluded.body, learned_at = excluded.learned_at, needed_until = excluded.needed_until
        """,
        list(last),
        [_json(known) for known, _ in last.values()],
        [now for _, now in last.values()],
        [needed_until(known.ticket) for known, _ in last.values()],
    )


def _json(known: KnownTicket | None) -> str | None:
    return None if known is None else _KNOWN.dump_json(known).decode()
