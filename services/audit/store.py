"""SQL that writes the log, and that loads for a decision.

`save` is the way in: records, their numbers and their publication are one transaction. Nothing else writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from services.audit.domain.mapping import Record
from shared.contracts.topics import AUDIT_OCSF
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox

SERVICE: Final = "audit"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record goes."""

    sequence: int
    published_id: str
    """The event's own id, which readers tell records by; only the first fact of a reused id can have it."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record with its place: what is stored and published."""

    record: Record
    place: Place


async def save(work: UnitOfWork, records: Sequence[Record], *, at: datetime) -> list[Numbered]:
    """Append and publish records, under the head's lock: the sequence follows the order of commits.

    Those that the log did not have, which alone are written.
    """
    places = await next_places(work.conn, records)
    fresh = [Numbered(record, place) for record, place in zip(records, places, strict=True) if place]
    if not fresh:
        return []
    kept = [one.record.to_bytes(one.place.sequence, at) for one in fresh]
    await append(work.conn, fresh, recorded_at=at, ocsf=kept)
    for one, value in zip(fresh, kept, strict=True):
        outbox.append_raw(
            work,
            SERVICE,
            topic=AUDIT_OCSF,
            key=one.record.key,
            event_id=one.place.published_id,
            type_name=f"audit.{one.record.code}.v1",
            value=value,
            at=at,
        )
    return fresh


async def next_places(conn: Conn, records: Sequence[Record]) -> list[Place | None]:
    """Lock the head until the transaction ends; each event's place, None for one that is in the log."""
    rows = await conn.fetch(
        "SELECT sequence, id_taken FROM next_sequences($1, $2)",
        [record.event_id for record in records],
        [record.source for record in records],
    )
    return [
        None if row["sequence"] is None else Place(row["sequence"], _published_id(record, row["id_taken"]))
        for record, row in zip(records, rows, strict=True)
    ]


async def append(
    conn: Conn, numbered: Sequence[Numbered], *, recorded_at: datetime, ocsf: Sequence[bytes]
) -> None:
    """Write records under the numbers `next_places` gave. Raises where the database disagrees."""
    records = [one.record for one in numbered]
    await conn.execute(
        "SELECT append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        [one.place.sequence for one in numbered],
        [record.event_id for record in records],
        [record.source for record in records],
        [record.code for record in records],
        [record.ticket_id for record in records],
        [record.actor_id for record in records],
        [record.account_ids for record in records],
        [record.party_ids for record in records],
        [record.person_ids for record in records],
        [record.occurred_at for record in records],
        recorded_at,
        list(ocsf),
    )


async def is_party(conn: Conn, ticket_id: str, user_id: str) -> bool:
    """Whether a fact of the ticket names the person as requester or beneficiary."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM audit_event WHERE ticket_id = $1 AND $2 = ANY (party_ids))",
        ticket_id,
        user_id,
    )
    return found


async def is_recorded(conn: Conn, ticket_id: str) -> bool:
    """Whether there is any fact of the ticket."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM audit_event WHERE ticket_id = $1)", ticket_id
    )
    return found


def _published_id(record: Record, id_taken: bool) -> str:
    return str(uuid5(UUID(record.event_id), record.source)) if id_taken else record.event_id
