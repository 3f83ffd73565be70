"""Records that can never be handled, kept with all that is needed to look at them and to try again."""

import base64
from datetime import datetime
from typing import Any, Final

from aiokafka import ConsumerRecord

from shared.database.filters import given, query
from shared.database.pool import Conn
from shared.foundation.clock import new_id
from shared.foundation.errors import NotFound

MOST_FORGED: Final = 200
"""Of a topic: whoever can write to the broker must not be able to fill our databases."""
_PAGE: Final = """
    SELECT id, topic, partition, "offset", key, value, error, parked_at, replayed_at FROM dead_letter
    WHERE {where} ORDER BY id DESC LIMIT {limit}
"""


async def park(
    conn: Conn, record: ConsumerRecord, *, error: str, now: datetime, forged: bool = False
) -> None:
    """Store a record with its coordinates; headers are base64, since they may be anything.

    PostgreSQL has no NUL in text: one in a name must not keep the record from being parked. Of what the
    topic's owner has not signed only the first MOST_FORGED are kept.
    """
    headers = [
        [name.replace("\0", "\ufffd"), None if value is None else base64.b64encode(value).decode()]
        for name, value in record.headers
    ]
    await conn.execute(
        """
        INSERT INTO dead_letter (
            id, topic, partition, "offset", key, value, headers, error, parked_at, forged
        )
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
        WHERE NOT $10 OR (SELECT count(*) FROM dead_letter WHERE topic = $2 AND forged) < $11
        ON CONFLICT DO NOTHING
        """,
        new_id(), record.topic, record.partition, record.offset,
        record.key, record.value, headers, error.replace("\0", "\ufffd"), now, forged, MOST_FORGED,
    )  # fmt: skip


async def page(conn: Conn, *, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Newest first; values are shown as text where they are text, cut at 2,000 characters."""
    before = given(("id < {}", after))
    rows = await conn.fetch(*query(_PAGE, before, limit=limit))
    return [
        {
            "id": str(row["id"]),
            "topic": row["topic"], "partition": row["partition"], "offset": row["offset"],
            "key": _text(row["key"]), "value": _text(row["value"]), "error": row["error"],
            "parked_at": row["parked_at"], "replayed_at": row["replayed_at"],
        }
        for row in rows
    ]  # fmt: skip


async def mark_replayed(conn: Conn, letter_id: str, *, now: datetime) -> None:
    """Note that a letter was dealt with; only after that is true."""
    await conn.execute("UPDATE dead_letter SET replayed_at = $2 WHERE id = $1", letter_id, now)


async def find(conn: Conn, letter_id: str) -> ConsumerRecord:
    """A letter as the record it was."""
    row = await conn.fetchrow(
        'SELECT topic, partition, "offset", key, value, headers FROM dead_letter WHERE id = $1', letter_id
    )
    if row is None:
        raise NotFound("there is no such dead letter", code="dead_letter_unknown")
    headers = tuple(
        (name, None if value is None else base64.b64decode(value)) for name, value in row["headers"]
    )
    return ConsumerRecord(
        topic=row["topic"], partition=row["partition"], offset=row["offset"], timestamp=0, timestamp_type=0,
        key=row["key"], value=row["value"], checksum=None, serialized_key_size=0,
        serialized_value_size=0, headers=headers,
    )  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:2000].decode("utf-8", errors="replace")
