"""All SQL of the notifier that writes, or loads to decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.notifier.domain.delivery import Again, GivenUp, Settlement, State
from services.notifier.domain.notice import Recipient, Template
from shared.contracts.event import EVENTS, Event
from shared.contracts.ticket import Ticket
from shared.database.pool import Conn
from shared.foundation.errors import Conflict


@dataclass(frozen=True)
class Held:
    """A fact that waits for its ticket."""

    event_id: str
    event: Event


@dataclass(frozen=True)
class NewDelivery:
    id: str
    recipient: Recipient
    message_id: str


@dataclass(frozen=True)
class Claimed:
    """A delivery that is ours to send until its lease ends, with everything needed to write it."""

    id: str
    event_id: str
    event: Event
    ticket: Ticket | None
    ticket_id: str
    template: Template
    recipient: Recipient
    message_id: str
    attempt: int
    """From 1; also what fences off a sender whose lease ran out."""
    give_up_at: datetime
    retried_by: str | None


@dataclass(frozen=True)
class Waiting:
    """How mail stands: what is pending, and what of it has already been refused or could not be sent."""

    pending: int
    struggling: int
    oldest: datetime | None
    """When the oldest struggling one was written."""
    last_error: str


async def lock_ticket(conn: Conn, ticket_id: str) -> None:
    """Facts of one ticket one after the other, from whichever topic.

    Else a fact could be put aside for a ticket that another transaction is just learning, and neither
    would see the other.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", ticket_id)


async def learn_ticket(conn: Conn, ticket: Ticket, *, now: datetime) -> None:
    """Keep the ticket if it is newer than what is known."""
    await conn.execute(
        """
        INSERT INTO known_ticket (id, version, body, learned_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE
        SET version = excluded.version, body = excluded.body, learned_at = excluded.learned_at
        WHERE known_ticket.version < excluded.version
        """,
        ticket.id,
        ticket.version,
        ticket.model_dump_json(),
        now,
    )


async def known_ticket(conn: Conn, ticket_id: str) -> Ticket | None:
    body = await conn.fetchval("SELECT body FROM known_ticket WHERE id = $1", ticket_id)
    return None if body is None else Ticket.model_validate_json(body)


async def add_notice(
    conn: Conn,
    event_id: str,
    event: Event,
    *,
    ticket_id: str,
    ticket: Ticket | None,
    held: bool,
    now: datetime,
) -> None:
    # An id that another source used before must not stall the partition: one mail per id and person, as ever.
    await conn.execute(
        """
        INSERT INTO notice (event_id, ticket_id, type, fact, ticket, held, happened_at, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
        """,
        event_id,
        ticket_id,
        event.TYPE,
        event.model_dump_json(),
        ticket.model_dump_json() if ticket else None,
        held,
        event.at,
        now,
    )


async def add_deliveries(
    conn: Conn,
    event_id: str,
    deliveries: Iterable[NewDelivery],
    *,
    ticket_id: str,
    template: Template,
    happened_at: datetime,
    give_up_at: datetime,
    now: datetime,
) -> None:
    """One per event and recipient: who already has one for this event gets no other."""
    await conn.executemany(
        """
        INSERT INTO delivery (id, event_id, recipient, snapshot, message_id, ticket_id, template,
                              happened_at, next_attempt_at, give_up_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9)
        ON CONFLICT (event_id, recipient) DO NOTHING
        """,
        [
            (one.id, event_id, one.recipient.user_id, one.recipient.address, one.message_id, ticket_id,
             template.value, happened_at, now, give_up_at)
            for one in deliveries
        ],
    )  # fmt: skip


async def release_held(conn: Conn, ticket: Ticket) -> list[Held]:
    """The facts that waited for this ticket, now with it, in the order in which they came."""
    rows = await conn.fetch(
        """
        WITH released AS (
            UPDATE notice SET held = false, ticket = $2 WHERE ticket_id = $1 AND held
            RETURNING event_id, type, fact, received_at
        )
        SELECT event_id, type, fact FROM released ORDER BY received_at, event_id
        """,
        ticket.id,
        ticket.model_dump_json(),
    )
    return [_held(row) for row in rows]


async def take_overdue(conn: Conn, *, received_before: datetime) -> list[Held]:
    """Facts that waited too long. They stay held: a ticket that comes after all still tells the rest."""
    rows = await conn.fetch(
        """
        UPDATE notice SET overdue = true
        WHERE event_id IN (
            SELECT event_id FROM notice WHERE held AND NOT overdue AND received_at < $1
            ORDER BY received_at LIMIT 100 FOR UPDATE SKIP LOCKED
        )
        RETURNING event_id, type, fact
        """,
        received_before,
    )
    return [_held(row) for row in rows]


async def claim(conn: Conn, *, now: datetime, leased_until: datetime) -> Claimed | None:
    """The next delivery that is due and nobody's, or None.

    SKIP LOCKED: two senders never wait for each other. NOT EXISTS: no mail overtakes an earlier one of
    the same ticket to the same person, also not while that one waits for its next attempt.
    """
    row = await conn.fetchrow(
        """
        UPDATE delivery AS d SET leased_until = $2, attempts = d.attempts + 1
        FROM notice AS n
        WHERE n.event_id = d.event_id AND d.id = (
            SELECT due.id FROM delivery AS due
            WHERE due.state = 'pending' AND due.next_attempt_at <= $1
              AND (due.leased_until IS NULL OR due.leased_until <= $1)
              AND NOT EXISTS (
                  SELECT 1 FROM delivery AS earlier
                  WHERE earlier.ticket_id = due.ticket_id AND earlier.recipient = due.recipient
                    AND earlier.state = 'pending'
                    AND (earlier.happened_at, earlier.id) < (due.happened_at, due.id)
              )
            ORDER BY due.next_attempt_at, due.id LIMIT 1 FOR UPDATE OF due SKIP LOCKED
        )
        RETURNING d.id, d.event_id, d.ticket_id, d.template, d.recipient, d.snapshot, d.message_id,
                  d.attempts, d.give_up_at, d.retried_by, n.type, n.fact, n.ticket
        """,
        now,
        leased_until,
    )
    return None if row is None else _claimed(row)


async def settle(
    conn: Conn, claimed: Claimed, settlement: Settlement, *, address: str | None, now: datetime
) -> None:
    """Record what became of an attempt. Raises `Conflict` when the lease was lost to another sender."""
    again = settlement if isinstance(settlement, Again) else None
    state = _state_after(settlement)
    failure = settlement if isinstance(settlement, Again | GivenUp) else None
    row = await conn.fetchval(
        """
        UPDATE delivery
        SET state = $3, leased_until = NULL, next_attempt_at = coalesce($4::timestamptz, next_attempt_at),
            address = $5, smtp_code = $6, detail = $7,
            settled_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $8::timestamptz END
        WHERE id = $1 AND attempts = $2 AND state = 'pending'
        RETURNING id
        """,
        claimed.id,
        claimed.attempt,
        state.value,
        again.at if again else None,
        address,
        failure.code if failure else None,
        failure.detail if failure else "",
        now,
    )
    if row is None:
        raise Conflict(f"the lease of delivery {claimed.id} was lost to another sender", code="lease_lost")


async def lock_state(conn: Conn, delivery_id: str) -> State | None:
    """For an operator's decision about one delivery; None where there is none."""
    state = await conn.fetchval("SELECT state FROM delivery WHERE id = $1 FOR UPDATE", delivery_id)
    return None if state is None else State(state)


async def make_due(conn: Conn, delivery_id: str, *, by: str, give_up_at: datetime, now: datetime) -> None:
    """Try again now. A sender at work keeps its lease."""
    row = await conn.fetchval(
        """
        UPDATE delivery
        SET state = 'pending', next_attempt_at = $2, give_up_at = $3, retried_by = $4, settled_at = NULL
        WHERE id = $1 AND state IN ('pending', 'failed') RETURNING id
        """,
        delivery_id,
        now,
        give_up_at,
        by,
    )
    if row is None:
        raise Conflict("this mail has just been sent; there is nothing to try again", code="already_sent")


async def waiting(conn: Conn, *, struggling_from: int) -> Waiting:
    """Pending mail; `struggling_from` attempts on it counts as struggling."""
    row = await conn.fetchrow(
        """
        SELECT count(*) AS pending,
               count(*) FILTER (WHERE attempts >= $1 AND detail <> '') AS struggling,
               min(created_at) FILTER (WHERE attempts >= $1 AND detail <> '') AS oldest,
               max(detail) FILTER (WHERE attempts >= $1) AS last_error
        FROM delivery WHERE state = 'pending'
        """,
        struggling_from,
    )
    assert row is not None, "an aggregate without GROUP BY has one row"  # noqa: S101
    return Waiting(row["pending"], row["struggling"], row["oldest"], row["last_error"] or "")


def _state_after(settlement: Settlement) -> State:
    if isinstance(settlement, Again):
        return State.PENDING
    return State.FAILED if isinstance(settlement, GivenUp) else State.SENT


def _held(row: Any) -> Held:
    return Held(str(row["event_id"]), EVENTS[row["type"]].model_validate_json(row["fact"]))


def _claimed(row: Any) -> Claimed:
    return Claimed(
        id=str(row["id"]),
        event_id=str(row["event_id"]),
        event=EVENTS[row["type"]].model_validate_json(row["fact"]),
        ticket=None if row["ticket"] is None else Ticket.model_validate_json(row["ticket"]),
        ticket_id=row["ticket_id"],
        template=Template(row["template"]),
        recipient=Recipient(row["recipient"], row["snapshot"]),
        message_id=row["message_id"],
        attempt=row["attempts"],
        give_up_at=row["give_up_at"],
        retried_by=row["retried_by"],
    )
