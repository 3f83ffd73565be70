"""How a changed ticket is kept and told: its next version and the fact of it, in the caller's transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.ticket import store
from services.ticket.domain import life
from shared.contracts.event import Actor
from shared.contracts.ticket import Ticket, TicketFact
from shared.database.pool import Conn
from shared.http.access import Caller
from shared.messaging import outbox

SERVICE: Final = "ticket"


@dataclass(frozen=True)
class Origin:
    """Who did it, what it followed from, when and why: the part of every fact that is not the ticket."""

    actor: Actor
    cause: str | None
    at: datetime
    why: str


def by(caller: Caller, *, at: datetime, why: str) -> Origin:
    """What a person did over HTTP."""
    return Origin(caller.actor, caller.cause, at, why)


async def say(
    conn: Conn,
    changed: Ticket,
    cls: type[TicketFact],
    origin: Origin,
    *,
    targets: Collection[str] = (),
    grants: Collection[str] = (),
    **more: Any,
) -> Ticket:
    """Save the next version of a ticket that was loaded under its lock, and say so. Gives that version.

    `targets` and `grants` are the ids that the fact is about; `more` are fields of its own.
    """
    ticket = life.next_version(changed)
    await store.save(conn, ticket)
    fact = cls(
        subject=ticket.id,
        version=ticket.version,
        actor=origin.actor,
        why=origin.why,
        cause=origin.cause,
        at=origin.at,
        ticket=ticket,
        target_ids=tuple(targets),
        grant_ids=tuple(grants),
        **more,
    )
    await outbox.append(conn, SERVICE, fact)
    return ticket
