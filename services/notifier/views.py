"""Read-only SQL: deliveries as operators see them."""

from collections.abc import Mapping
from typing import Any, Final, LiteralString

from services.notifier.domain.delivery import State
from shared.database.filters import given, one_of, query
from shared.database.pool import Conn

_PAGE: Final = """
    SELECT d.id::text AS id,
           ARRAY(
               SELECT n.event_id::text
               FROM delivery_notice AS link JOIN notice AS n ON n.id = link.notice_id
               WHERE link.delivery_id = d.id ORDER BY n.happened_at, n.received_at, n.id
           ) AS event_ids,
           d.ticket_id, d.recipient, d.template, d.state, d.attempts, d.address, d.message_id,
           d.smtp_code, d.detail, d.retried_by, d.created_at, d.next_attempt_at, d.settled_at
    FROM delivery AS d WHERE {where} ORDER BY d.id DESC LIMIT {limit}
"""
_IN_STATE: Final[Mapping[str, LiteralString]] = {
    State.PENDING: "d.state = 'pending'",
    State.SENT: "d.state = 'sent'",
    State.FAILED: "d.state = 'failed'",
}
"""Nearly all are sent; those that wait or failed have an index of their own."""


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
    wanted = given(
        ("d.ticket_id = {}", ticket),
        ("d.recipient = {}", recipient),
        one_of(_IN_STATE, state),
        ("d.id < {}", after),
    )
    rows = await conn.fetch(*query(_PAGE, wanted, limit=limit))
    return [_item(row) for row in rows]


def _item(row: Any) -> dict[str, Any]:
    """A delivery as JSON."""
    item = dict(row)
    for name in ("created_at", "next_attempt_at", "settled_at"):
        item[name] = item[name].isoformat() if item[name] else None
    if item["state"] != State.PENDING:
        item["next_attempt_at"] = None
    return item
