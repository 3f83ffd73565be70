"""Tickets stored and loaded for a decision. Lists for people are in views.py, the rows in rows.py.

`add` and `save` are the only ways a ticket is stored, and what publishes its events: rows, events, alerts
and log lines follow from one `Change`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from services.ticket.store import rows
from shared.contracts.change import Change
from shared.contracts.event import Event
from shared.contracts.stop import StopFact
from shared.contracts.ticket import Ticket, TicketFact
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Bug
from shared.messaging import outbox
from shared.observability.logs import logger

SERVICE: Final = "ticket"

log = logger(SERVICE)


async def add(work: UnitOfWork, change: Change[Ticket]) -> None:
    """A new ticket with all its rows, and its events."""
    await rows.add(work.conn, change.state)
    await _publish(work, None, change)


async def save(work: UnitOfWork, before: Ticket, change: Change[Ticket]) -> None:
    """The rows that a change of a ticket makes different, its events and its alerts.

    `before` is the ticket as it was loaded under its lock. A change that leaves it as it was writes nothing.
    Rows are written once for all changes of the unit, right before its commit; that raises Bug if somebody
    changed the ticket who did not hold the lock.
    """
    if change.state.version != before.version:
        held = work.held(_Held).setdefault(before.id, _Held(before, before))
        if held.now.version != before.version:
            raise Bug(f"ticket {before.id} changed since it was loaded; this is a bug", code="ticket_version")
        held.now = change.state
        work.collect(_write, held)
    await _publish(work, before, change)


async def load(work: UnitOfWork, ticket_id: str) -> Ticket | None:
    """A ticket, locked until the transaction ends."""
    found = await load_all(work, [ticket_id])
    return found[0] if found else None


async def load_all(work: UnitOfWork, ticket_ids: Collection[str]) -> list[Ticket]:
    """Several tickets, locked in the order of their ids, so that two stops cannot block each other.

    One that the unit has loaded before is as the unit has changed it since.
    """
    held = work.held(_Held)
    for ticket in await _lock(work.conn, [one for one in ticket_ids if one not in held]):
        held[ticket.id] = _Held(ticket, ticket)
    return [held[one].now for one in sorted(set(ticket_ids)) if one in held]


async def lock(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """Have them loaded before the commands of a batch ask for each."""
    await load_all(work, ticket_ids)


async def _lock(conn: Conn, ids: list[str]) -> list[Ticket]:
    if not ids:
        return []
    found = await conn.fetch("SELECT whole FROM locked_tickets($1::uuid[])", ids)
    return [Ticket.model_validate(row["whole"]) for row in found]


@dataclass
class _Held:
    """A ticket that the unit has locked: as its rows are, and as the unit has changed it."""

    stored: Ticket
    now: Ticket


async def _write(work: UnitOfWork, changed: Sequence[_Held]) -> None:
    """The rows of each ticket once, however often the unit has changed it: a wide one has many facts."""
    differ = {id(held): held for held in changed if held.now is not held.stored}
    await rows.save(work.conn, [rows.Saved(held.stored, held.now) for held in differ.values()])
    for held in differ.values():
        held.stored = held.now


async def same_access(conn: Conn, ticket: Ticket) -> list[str]:
    """Ids of the ticket and of all others with a live grant on the same assignment as any of its grants."""
    found = await conn.fetch(
        """
        SELECT DISTINCT other.ticket_id
        FROM ticket_grant AS mine
        JOIN ticket_grant AS other USING (instance, beneficiary, account_id, set_id)
        WHERE mine.ticket_id = $1 AND other.live
        """,
        ticket.id,
    )
    return sorted({ticket.id, *(str(row["ticket_id"]) for row in found)})


async def due_for_time_out(conn: Conn, *, now: datetime, limit: int) -> list[str]:
    """Tickets with something nobody decided in time; a row another replica works on is left to it."""
    found = await conn.fetch(
        """
        SELECT id FROM ticket WHERE times_out_at <= $1
        ORDER BY times_out_at LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [str(row["id"]) for row in found]


async def due_for_closing(conn: Conn, *, now: datetime, limit: int) -> list[str]:
    found = await conn.fetch(
        """
        SELECT id FROM ticket WHERE closes_at <= $1
        ORDER BY closes_at LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        now,
        limit,
    )
    return [str(row["id"]) for row in found]


async def _publish(work: UnitOfWork, before: Ticket | None, change: Change[Ticket]) -> None:
    outbox.append(work, SERVICE, *change.events)
    work.alert(*change.alerts)
    work.after_commit(partial(_log, before, change))


def _log(before: Ticket | None, change: Change[Ticket]) -> None:
    """One line for each state change, of the ticket and of its grants."""
    ticket = change.state
    about = {"service": SERVICE, "ticket": ticket.id, "version": ticket.version}
    for event in change.events:
        happened = event.TYPE.rpartition(".")[0].replace(".", " ").replace("_", " ")
        log.info(happened, **about, state=ticket.state.value, targets=_targets(event, ticket))
    if before is None:
        return
    if not change.events and before.state != ticket.state:
        log.info("ticket changed", **about, state=ticket.state.value)
    states = {grant.id: grant.state for grant in before.grants}
    for grant in rows.changed(before.grants, ticket.grants):
        if grant.state is not None and grant.state != states.get(grant.id):
            log.info("grant changed", **about, grant=grant.id, state=grant.state.value, code=grant.code)


def _targets(event: Event, ticket: Ticket) -> list[str]:
    if isinstance(event, StopFact):
        return [target.id for target in event.part_of(ticket).targets]
    return [target.id for target in event.targets] if isinstance(event, TicketFact) else []
