"""Read-only SQL: deliveries as operators see them."""

from typing import Any

from services.notifier.domain.delivery import State
from shared.database.pool import Conn

_COLUMNS = (
    "id", "event_id", "ticket_id", "recipient", "template", "state", "attempts", "address", "message_id",
    "smtp_code", "detail", "retried_by", "created_at", "next_attempt_at", "settled_at",
)  # fmt: skip


async def deliveries(
    conn: Conn,
    *,
    ticket: str | None,
    recipient: str | None,
    state: State | None,
    after: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """A page, the newest first; ids sort by time."""
    rows = await conn.fetch(
        """
        SELECT id, event_id, ticket_id, recipient, template, state, attempts, address, message_id,
               smtp_code, detail, retried_by, created_at, next_attempt_at, settled_at
        FROM delivery
        WHERE ($1::text IS NULL OR ticket_id = $1) AND ($2::text IS NULL OR recipient = $2)
          AND ($3::text IS NULL OR state = $3) AND ($4::uuid IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,
        ticket,
        recipient,
        state.value if state else None,
        after,
        limit,
    )
    return [_item(row) for row in rows]


def _item(row: Any) -> dict[str, Any]:
    """A delivery as JSON."""
    item = {name: row[name] for name in _COLUMNS}
    for name in ("id", "event_id"):
        item[name] = str(item[name])
    for name in ("created_at", "next_attempt_at", "settled_at"):
        item[name] = item[name].isoformat() if item[name] else None
    if item["state"] != State.PENDING:
        item["next_attempt_at"] = None
    return item
