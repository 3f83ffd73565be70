"""SQL that writes tickets or loads them for a decision. Lists for people are in views.py.

`add` and `save` are the only ways a ticket is stored, and what publishes its events: rows, events, alerts
and log lines follow from one `Change`.
"""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from typing import Final

from services.ticket.domain.endings import closes_at
from shared.contracts.change import Change
from shared.contracts.ticket import Grant, Ticket, TicketFact
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Bug
from shared.messaging import outbox
from shared.observability.logs import logger

SERVICE: Final = "ticket"

log = logger(SERVICE)


async def add(work: UnitOfWork, change: Change[Ticket]) -> None:
    """A new ticket with everything it is looked up by, and its events."""
    await _insert_ticket(work.conn, change.state)
    await _insert_lookups(work.conn, change.state)
    await _insert_grants(work.conn, change.state)
    await _publish(work, None, change)


async def save(work: UnitOfWork, before: Ticket, change: Change[Ticket]) -> None:
    """The rows that a change of a ticket makes different, its events and its alerts.

    `before` is the ticket as it was loaded under its lock. A change that leaves it as it was writes nothing.
    """
    if change.state.version != before.version:
        await _update_ticket(work.conn, before, change.state)
        await _update_grants(work.conn, before, change.state)
    await _publish(work, before, change)


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


async def same_access(conn: Conn, ticket: Ticket) -> list[str]:
    """Ids of the ticket and of all others with a live grant on the same assignment as any of its grants."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT other.ticket_id
        FROM ticket_grant AS mine
        JOIN ticket_grant AS other USING (instance, user_id, account_id, set_id)
        WHERE mine.ticket_id = $1 AND other.live
        """,
        ticket.id,
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


async def _insert_ticket(conn: Conn, ticket: Ticket) -> None:
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
        closes_at(ticket),
        ticket.model_dump(mode="json"),
    )


async def _insert_lookups(conn: Conn, ticket: Ticket) -> None:
    await conn.executemany(
        "INSERT INTO ticket_party (user_id, ticket_id) VALUES ($1, $2)",
        [(user_id, ticket.id) for user_id in sorted(ticket.parties)],
    )
    await conn.executemany(
        "INSERT INTO ticket_account (account_id, ticket_id) VALUES ($1, $2)",
        [(account_id, ticket.id) for account_id in sorted({target.account_id for target in ticket.targets})],
    )


async def _insert_grants(conn: Conn, ticket: Ticket) -> None:
    await conn.executemany(
        """
        INSERT INTO ticket_grant (grant_id, ticket_id, instance, user_id, account_id, set_id, live)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        [
            (
                grant.id,
                ticket.id,
                ticket.instance,
                grant.beneficiary,
                target.account_id,
                target.set_id,
                grant.is_live,
            )
            for target in ticket.targets
            for grant in ticket.grants_of(target.id)
        ],
    )


async def _update_ticket(conn: Conn, before: Ticket, ticket: Ticket) -> None:
    """A writer that did not hold the lock finds no row to update."""
    status = await conn.execute(
        """
        UPDATE ticket SET version = $3, state = $4, pending_until = $5, closes_at = $6, body = $7
        WHERE id = $1 AND version = $2
        """,
        ticket.id,
        before.version,
        ticket.version,
        ticket.state,
        _pending_until(ticket),
        closes_at(ticket),
        ticket.model_dump(mode="json"),
    )
    if status != "UPDATE 1":
        raise Bug(f"ticket {ticket.id} changed under its lock; this is a bug", code="ticket_version")


async def _update_grants(conn: Conn, before: Ticket, ticket: Ticket) -> None:
    """Only those that began or ceased to be live: a ticket may have many, and most changes are about one."""
    changed = [grant.id for was, grant in _changed_grants(before, ticket) if was.is_live != grant.is_live]
    if changed:
        await conn.execute(
            "UPDATE ticket_grant SET live = (grant_id = ANY($2::uuid[])) WHERE grant_id = ANY($1::uuid[])",
            changed,
            [grant.id for grant in ticket.live],
        )


async def _publish(work: UnitOfWork, before: Ticket | None, change: Change[Ticket]) -> None:
    await outbox.append(work.conn, SERVICE, *change.events)
    work.alert(*change.alerts)
    work.after_commit(partial(_log, before, change))


def _log(before: Ticket | None, change: Change[Ticket]) -> None:
    """One line for each state change, of the ticket and of its grants."""
    ticket = change.state
    about = {"service": SERVICE, "ticket": ticket.id, "version": ticket.version}
    for event in change.events:
        happened = event.TYPE.rpartition(".")[0].replace(".", " ").replace("_", " ")
        targets = [target.id for target in event.targets] if isinstance(event, TicketFact) else []
        log.info(happened, **about, state=ticket.state.value, targets=targets)
    if before is None:
        return
    if not change.events and before.state != ticket.state:
        log.info("ticket changed", **about, state=ticket.state.value)
    for was, grant in _changed_grants(before, ticket):
        if was.state != grant.state and grant.state is not None:
            log.info("grant changed", **about, grant=grant.id, state=grant.state.value, code=grant.code)


def _changed_grants(before: Ticket, ticket: Ticket) -> list[tuple[Grant, Grant]]:
    """Grants before and after, where something of them is different."""
    return [(was, grant) for was, grant in zip(before.grants, ticket.grants, strict=True) if was is not grant]


def _pending_until(ticket: Ticket) -> datetime | None:
    return ticket.expires_at if ticket.pending else None
