"""Read-only SQL: deliveries as operators see them."""

from typing import Any

from services.notifier.domain.delivery import State
from shared.database.pool import Conn, planned_anew


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
    async with planned_anew(conn):
        rows = await conn.fetch(
            """
            SELECT d.id::text AS id,
                   ARRAY(
                       SELECT n.event_id::text
                       FROM delivery_notice AS link JOIN notice AS n ON n.id = link.notice_id
                       WHERE link.delivery_id = d.id ORDER BY n.happened_at, n.received_at, n.id
                   ) AS event_ids,
                   d.ticket_id, d.recipient, d.template, d.state, d.attempts, d.address, d.message_id,
                   d.smtp_code, d.detail, d.retried_by, d.created_at, d.next_attempt_at, d.settled_at
            FROM delivery AS d
            WHERE ($1::text IS NULL OR d.ticket_id = $1) AND ($2::text IS NULL OR d.recipient = $2)
              AND ($3::text IS NULL OR d.state = $3) AND ($4::uuid IS NULL OR d.id < $4)
            ORDER BY d.id DESC LIMIT $5
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
    item = dict(row)
    for name in ("created_at", "next_attempt_at", "settled_at"):
        item[name] = item[name].isoformat() if item[name] else None
    if item["state"] != State.PENDING:
        item["next_attempt_at"] = None
    return item
