"""SQL that writes the log, and that loads for a decision.

`save` is the way in: a record, its number and its publication are one transaction. Nothing else can write.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from services.audit.domain.mapping import Record
from shared.contracts.change import Change
from shared.contracts.topics import AUDIT_OCSF
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox

SERVICE: Final = "audit"


async def save(work: UnitOfWork, change: Change[Record], *, at: datetime) -> int | None:
    """Append and publish a record, under the head's lock: the sequence follows the order of commits.

    The record's number; None when the log has the fact, and then nothing happens.
    """
    record = change.state
    sequence = await next_sequence(work.conn, record.event_id, record.source)
    if sequence is None:
        return None
    published_id = await _published_id(work.conn, record)
    kept = record.to_bytes(sequence, at)
    await append(work.conn, record, sequence=sequence, recorded_at=at, ocsf=kept)
    await outbox.append_raw(
        work.conn,
        SERVICE,
        topic=AUDIT_OCSF,
        key=record.key,
        event_id=published_id,
        type_name=f"audit.{record.code}.v1",
        value=kept,
        at=at,
    )
    work.alert(*change.alerts)
    return sequence


async def next_sequence(conn: Conn, event_id: str, source: str) -> int | None:
    """Lock the head until the transaction ends; the event's number, or None when it is in the log."""
    number: int | None = await conn.fetchval("SELECT next_sequence($1, $2)", event_id, source)
    return number


async def append(conn: Conn, record: Record, *, sequence: int, recorded_at: datetime, ocsf: bytes) -> None:
    """Write one record under the number `next_sequence` gave. Raises where the database disagrees."""
    await conn.execute(
        "SELECT append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        sequence,
        record.event_id,
        record.source,
        record.code,
        record.ticket_id,
        record.actor_id,
        list(record.account_ids),
        list(record.party_ids),
        record.occurred_at,
        recorded_at,
        ocsf,
    )


async def is_party(conn: Conn, ticket_id: str, user_id: str) -> bool:
    """Whether a fact of the ticket names the person as requester or beneficiary."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM audit_event WHERE ticket_id = $1 AND $2 = ANY (party_ids))",
        ticket_id,
        user_id,
    )
    return found


async def _published_id(conn: Conn, record: Record) -> str:
    """The event's own id, which readers tell records by; only the first fact of a reused id can have it."""
    taken = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM audit_event WHERE event_id = $1)", record.event_id
    )
    return str(uuid5(UUID(record.event_id), record.source)) if taken else record.event_id
