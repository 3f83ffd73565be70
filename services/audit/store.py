"""SQL that writes the log, and that loads for a decision.

`next_sequence` and `append` belong into one transaction; nothing else can write.
"""

from datetime import datetime

from services.audit.domain.mapping import Draft
from shared.database.pool import Conn


async def next_sequence(conn: Conn, event_id: str, source: str) -> int | None:
    """Lock the head until the transaction ends; the event's number, or None when it is in the log."""
    number: int | None = await conn.fetchval("SELECT next_sequence($1, $2)", event_id, source)
    return number


async def is_taken(conn: Conn, event_id: str) -> bool:
    """Whether a fact of any source has this id. True for a new fact only when somebody reused an id."""
    found: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM audit_event WHERE event_id = $1)", event_id)
    return found


async def append(conn: Conn, draft: Draft, *, sequence: int, recorded_at: datetime, record: bytes) -> None:
    """Write one record under the number `next_sequence` gave. Raises where the database disagrees."""
    await conn.execute(
        "SELECT append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        sequence,
        draft.event_id,
        draft.source,
        draft.code,
        draft.ticket_id,
        draft.actor_id,
        list(draft.account_ids),
        list(draft.party_ids),
        draft.occurred_at,
        recorded_at,
        record,
    )


async def is_party(conn: Conn, ticket_id: str, user_id: str) -> bool:
    """Whether a fact of the ticket names the person as requester or beneficiary."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM audit_event WHERE ticket_id = $1 AND $2 = ANY (party_ids))",
        ticket_id,
        user_id,
    )
    return found
