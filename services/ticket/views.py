"""Read-only SQL for what people see of tickets."""

from dataclasses import dataclass

from shared.contracts.ticket import Target, Ticket
from shared.database.pool import Conn, planned_anew


@dataclass(frozen=True)
class Filter:
    """Which tickets a list shows; None means any."""

    party: str | None = None
    """A user id: their own tickets, as requester or beneficiary."""
    state: str | None = None
    account_id: str | None = None
    set_id: str | None = None
    requester: str | None = None
    beneficiary: str | None = None
    reference: str | None = None
    before: str | None = None
    """The last id of the page before: ids are ordered by submission, newest first."""
    limit: int = 50


async def ticket(conn: Conn, ticket_id: str) -> Ticket | None:
    whole = await conn.fetchval("SELECT whole FROM whole_ticket WHERE id = $1", ticket_id)
    return None if whole is None else Ticket.model_validate(whole)


async def earlier_revisions(
    conn: Conn, ticket_id: str, *, before: str | None = None, limit: int = 50
) -> list[Target]:
    """Targets of a ticket as they were asked for before, the last first; `before` is a subject's id."""
    async with planned_anew(conn):
        found = await conn.fetch(
            """
            SELECT whole FROM whole_target
            WHERE ticket_id = $1 AND NOT current AND ($2::uuid IS NULL OR subject_id < $2)
            ORDER BY subject_id DESC LIMIT $3
            """,
            ticket_id,
            before,
            limit,
        )
    return [Target.model_validate(row["whole"]) for row in found]


async def tickets(conn: Conn, wanted: Filter) -> list[Ticket]:
    """A page, newest first."""
    async with planned_anew(conn):
        found = await conn.fetch(
            _ALL if wanted.party is None else _OWN,
            wanted.party,
            wanted.state,
            wanted.account_id,
            wanted.set_id,
            wanted.requester,
            wanted.beneficiary,
            wanted.reference,
            wanted.before,
            wanted.limit,
        )
    return [Ticket.model_validate(row["whole"]) for row in found]


# Walks the party's index backwards: the cost of a page does not grow with other people's tickets.
_OWN = """
    WITH page AS (
        SELECT ticket.id FROM ticket_party JOIN ticket ON ticket.id = ticket_party.ticket_id
        WHERE ticket_party.user_id = $1
          AND ($2::text IS NULL OR ticket.state = $2)
          AND ($3::text IS NULL OR ticket.id IN (SELECT ticket_id FROM ticket_target WHERE account_id = $3))
          AND ($4::text IS NULL OR ticket.id IN (SELECT ticket_id FROM ticket_target WHERE set_id = $4))
          AND ($5::text IS NULL OR ticket.requester = $5)
          AND ($6::text IS NULL OR ticket.id IN (
                  SELECT ticket_id FROM ticket_party WHERE user_id = $6 AND benefits))
          AND ($7::text IS NULL OR ticket.reference = $7)
          AND ($8::uuid IS NULL OR ticket_party.ticket_id < $8)
        ORDER BY ticket_party.ticket_id DESC LIMIT $9
    )
    SELECT whole_ticket.whole FROM page JOIN whole_ticket USING (id) ORDER BY page.id DESC
"""

# Walks the primary key, or the index of a filter, backwards; $1 is always null here and keeps the
# parameters alike.
_ALL = """
    WITH page AS (
        SELECT ticket.id FROM ticket
        WHERE $1::text IS NULL
          AND ($2::text IS NULL OR ticket.state = $2)
          AND ($3::text IS NULL OR ticket.id IN (SELECT ticket_id FROM ticket_target WHERE account_id = $3))
          AND ($4::text IS NULL OR ticket.id IN (SELECT ticket_id FROM ticket_target WHERE set_id = $4))
          AND ($5::text IS NULL OR ticket.requester = $5)
          AND ($6::text IS NULL OR ticket.id IN (
                  SELECT ticket_id FROM ticket_party WHERE user_id = $6 AND benefits))
          AND ($7::text IS NULL OR ticket.reference = $7)
          AND ($8::uuid IS NULL OR ticket.id < $8)
        ORDER BY ticket.id DESC LIMIT $9
    )
    SELECT whole_ticket.whole FROM page JOIN whole_ticket USING (id) ORDER BY page.id DESC
"""
