"""Read-only SQL for what people see of tickets."""

from dataclasses import dataclass

from shared.contracts.ticket import Ticket
from shared.database.pool import Conn


@dataclass(frozen=True)
class Filter:
    """Which tickets a list shows; None means any."""

    party: str | None
    """A user id: their own tickets, as requester or beneficiary."""
    state: str | None = None
    account_id: str | None = None
    before: str | None = None
    """The last id of the page before: ids are ordered by submission, newest first."""
    limit: int = 50


async def ticket(conn: Conn, ticket_id: str) -> Ticket | None:
    body = await conn.fetchval("SELECT body FROM ticket WHERE id = $1", ticket_id)
    return None if body is None else Ticket.model_validate(body)


async def tickets(conn: Conn, wanted: Filter) -> list[Ticket]:
    """A page, newest first."""
    query = _ALL if wanted.party is None else _OWN
    rows = await conn.fetch(query, wanted.party, wanted.state, wanted.account_id, wanted.before, wanted.limit)
    return [Ticket.model_validate(row["body"]) for row in rows]


# Walks the party's index backwards: the cost of a page does not grow with other people's tickets.
_OWN = """
    SELECT ticket.body FROM ticket_party JOIN ticket ON ticket.id = ticket_party.ticket_id
    WHERE ticket_party.user_id = $1
      AND ($2::text IS NULL OR ticket.state = $2)
      AND ($3::text IS NULL OR EXISTS (
              SELECT 1 FROM ticket_account
              WHERE ticket_account.ticket_id = ticket.id AND ticket_account.account_id = $3))
      AND ($4::uuid IS NULL OR ticket_party.ticket_id < $4)
    ORDER BY ticket_party.ticket_id DESC LIMIT $5
"""

# Walks the primary key backwards; $1 is always null here and only keeps the parameters alike.
_ALL = """
    SELECT ticket.body FROM ticket
    WHERE $1::text IS NULL
      AND ($2::text IS NULL OR ticket.state = $2)
      AND ($3::text IS NULL OR ticket.id IN (
              SELECT ticket_id FROM ticket_account WHERE account_id = $3))
      AND ($4::uuid IS NULL OR ticket.id < $4)
    ORDER BY ticket.id DESC LIMIT $5
"""
