"""The outbox: an event exists if and only if the transaction that caused it committed.

`append` is called inside a command's transaction; shared/messaging/relay.py sends the rows, in order. Nothing
else in the project publishes.
"""

import json
from datetime import datetime

from shared.contracts import topics
from shared.contracts.documents import Document, Marker
from shared.contracts.event import Contract, Event
from shared.database.pool import Conn
from shared.foundation.clock import new_id
from shared.foundation.errors import Bug
from shared.messaging.envelope import headers_for

MARKER_TYPE = "document.marker.v1"
REPLAY_BATCH = 5000
"""Rows a statement."""


def document_type(kind: str) -> str:
    return f"document.{kind}.v1"


async def append(conn: Conn, service: str, *events: Event) -> list[str]:
    """Store facts for sending, in this order, within the caller's transaction; return their ids.

    The caller must hold the aggregate's row lock, so that ids follow the order of commits per key.
    """
    topic = topics.events_topic(service)
    return [
        await _insert(
            conn, service, topic=topic, key=event.subject, type_name=event.TYPE, body=event, at=event.at
        )
        for event in events
    ]


async def append_document(conn: Conn, service: str, document: Document, *, at: datetime) -> str:
    """Store a document's new state for sending; only shared/documents/document_store.py calls this."""
    topic = topics.documents_topic(service)
    if document.kind not in topics.TOPICS[topic].kinds:
        raise Bug(
            f"{service} wrote a {document.kind}, which belongs to another service; this is a bug",
            code="document_owner",
        )
    return await _insert(
        conn,
        service,
        topic=topic,
        key=document.key,
        type_name=document_type(document.kind),
        body=document,
        at=at,
    )


async def append_marker(conn: Conn, service: str, marker: Marker) -> str:
    return await _insert(
        conn,
        service,
        topic=topics.documents_topic(service),
        key=f"marker/{service}",
        type_name=MARKER_TYPE,
        body=marker,
        at=marker.at,
    )


async def append_raw(
    conn: Conn,
    service: str,
    *,
    topic: str,
    key: str,
    event_id: str,
    type_name: str,
    value: bytes,
    at: datetime,
) -> None:
    """Store bytes that are already a public format (OCSF); the owner of the topic only."""
    _check_owner(service, topic)
    headers = headers_for(event_id=event_id, type_name=type_name, subject=key, source=service, time=at)
    await conn.execute(_INSERT, event_id, topic, key, type_name, value, headers, at)


async def replay(conn: Conn, since: datetime) -> int:
    """Mark everything since a moment as unsent: the relay sends it again, and inboxes drop what they know.

    In batches, so that no statement runs into its time limit, but in the caller's one transaction: seen
    half marked, the relay would send what is new before what is repeated. Returns how many rows.
    """
    marked, last = 0, 0
    while True:
        rows = await conn.fetch(_UNSEND, last, since, REPLAY_BATCH)
        marked += len(rows)
        if len(rows) < REPLAY_BATCH:
            await conn.execute("SELECT pg_notify('outbox', '')")
            return marked
        last = max(row["id"] for row in rows)


_UNSEND = """
    UPDATE outbox SET sent_at = NULL WHERE id IN (
        SELECT id FROM outbox WHERE id > $1 AND created_at >= $2 AND sent_at IS NOT NULL ORDER BY id LIMIT $3
    ) RETURNING id
"""
_INSERT = """
    INSERT INTO outbox (event_id, topic, key, type, payload, headers, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def _insert(
    conn: Conn, service: str, *, topic: str, key: str, type_name: str, body: Contract, at: datetime
) -> str:
    _check_owner(service, topic)
    event_id = new_id()
    headers = headers_for(event_id=event_id, type_name=type_name, subject=key, source=service, time=at)
    await conn.execute(_INSERT, event_id, topic, key, type_name, body.model_dump_json().encode(), headers, at)
    return event_id


def _check_owner(service: str, topic: str) -> None:
    if topics.TOPICS[topic].owner != service:
        raise Bug(
            f"{service} wrote to {topic}, which belongs to another service; this is a bug", code="topic_owner"
        )


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no blanks, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
