"""SQL that writes tickets or loads them for a decision. Lists for people are in views.py."""

from collections.abc import Collection, Sequence
from datetime import datetime

from services.ticket.domain import life
from shared.contracts.ticket import Ticket
from shared.database.pool import Conn
from shared.foundation.errors import Bug


async def add(conn: Conn, ticket: Ticket) -> None:
    """A new ticket with everything it is looked up by."""
    await conn.execute(
        """
        INSERT INTO ticket
            (id, instance, version, requester, state, submitted_at, pending_until, closes_at, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        ticket.id,
        ticket.instance,
        ticket.version,
        ticket.requester.user_id,
        ticket.state,
        ticket.submitted_at,
        _pending_until(ticket),
        life.closes_at(ticket),
        ticket.model_dump(mode="json"),
    )
    await conn.executemany(
        "INSERT INTO ticket_party (user_id, ticket_id) VALUES ($1, $2)",
        [(user_id, ticket.id) for user_id in sorted(life.parties(ticket))],
    )
    await conn.executemany(
        "INSERT INTO ticket_account (account_id, ticket_id) VALUES ($1, $2)",
        [(account_id, ticket.id) for account_id in sorted({target.account_id for target in ticket.targets})],
    )
    targets = {target.id: target for target in ticket.targets}
    await conn.executemany(
        """
        INSERT INTO ticket_grant (grant_id, ticket_id, instance, user_id, account_id, set_id, live)
        VALUES ($1, $2, $3, $4, $5, $6, false)
        """,
        [
            (
                grant.id,
                ticket.id,
                ticket.instance,
                grant.beneficiary,
                targets[grant.target_id].account_id,
                targets[grant.target_id].set_id,
            )
            for grant in ticket.grants
        ],
    )


async def load(conn: Conn, ticket_id: str) -> Ticket | None:
    """A ticket, locked until the transaction ends."""
    body = await conn.fetchval("SELECT body FROM ticket WHERE id = $1 FOR UPDATE", ticket_id)
    return None if body is None else Ticket.model_validate(body)


async def load_all(conn: Conn, ticket_ids: Collection[str]) -> list[Ticket]:
    """Several tickets, locked in the order of their ids, so that two stops cannot block each other."""
    rows = await conn.fetch(
        "SELECT body FROM ticket WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", list(ticket_ids)
    )
    return [Ticket.model_validate(row["body"]) for row in rows]


async def save(conn: Conn, ticket: Ticket) -> None:
    """The ticket's next version; a writer that did not hold the lock finds no row to update."""
    status = await conn.execute(
        """
        UPDATE ticket SET version = $2, state = $3, pending_until = $4, closes_at = $5, body = $6
        WHERE id = $1 AND version = $2 - 1
        """,
        ticket.id,
        ticket.version,
        ticket.state,
        _pending_until(ticket),
        life.closes_at(ticket),
        ticket.model_dump(mode="json"),
    )
    if status != "UPDATE 1":
        raise Bug(f"ticket {ticket.id} changed under its lock; this is a bug", code="ticket_version")
    await conn.execute(
        "UPDATE ticket_grant SET live = (grant_id = ANY($2::uuid[])) WHERE ticket_id = $1",
        ticket.id,
        [grant.id for grant in life.live_grants(ticket)],
    )


async def same_access(conn: Conn, ticket: Ticket, grant_ids: Sequence[str]) -> list[str]:
    """Ids of all tickets with a live grant on the same assignment as any of these grants."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT other.ticket_id
        FROM ticket_grant AS mine
        JOIN ticket_grant AS other USING (instance, user_id, account_id, set_id)
        WHERE mine.grant_id = ANY($1::uuid[]) AND other.live
        """,
        list(grant_ids),
    )
    return sorted({ticket.id, *(str(row["ticket_id"]) for row in rows)})


async def due_for_time_out(conn: Conn, *, now: datetime, limit: int) -> list[str]:
    """Tickets with a pending target whose time is over; a row another replica works on is left to it."""
    rows = await conn.fetch(
        """
        SELECT id FROM ticket WHERE pending_until <= $1
        ORDER BY pending_until LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [str(row["id"]) for row in rows]


async def due_for_closing(conn: Conn, *, now: datetime, limit: int) -> list[str]:
    rows = await conn.fetch(
        """
        SELECT id FROM ticket WHERE closes_at <= $1
        ORDER BY closes_at LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [str(row["id"]) for row in rows]


def _pending_until(ticket: Ticket) -> datetime | None:
    return ticket.expires_at if life.pending(ticket) else None
