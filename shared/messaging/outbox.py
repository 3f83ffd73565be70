"""The outbox: an event exists if and only if the transaction that caused it committed.

`append` is called inside a command's unit of work, which writes all its rows before it commits;
shared/messaging/relay.py sends them, in order. Nothing else in the project publishes.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.contracts import topics
from shared.contracts.documents import Document, Marker
from shared.contracts.event import Contract, Event
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import Bug
from shared.messaging.envelope import headers_for

MARKER_TYPE = "document.marker.v1"
REPLAY_BATCH = 5000
"""Rows a statement."""


def document_type(kind: str) -> str:
    return f"document.{kind}.v1"


def append(work: UnitOfWork, service: str, *events: Event) -> list[str]:
    """Facts to be sent in this order, stored right before the caller's commit; returns their ids.

    The caller must hold the aggregate's row lock, so that the rows' ids follow the order of commits per key.
    """
    return [
        _collect(
            work,
            service,
            topic=topics.topic_of(service, event.TYPE),
            key=event.subject,
            type_name=event.TYPE,
            body=event,
            at=event.at,
        )
        for event in events
    ]


def append_document(work: UnitOfWork, service: str, document: Document, *, at: datetime) -> str:
    """A document's new state, to be sent; only shared/documents/document_store.py calls this."""
    topic = topics.documents_topic(service)
    if document.kind not in topics.TOPICS[topic].kinds:
        raise Bug(
            f"{service} wrote a {document.kind}, which belongs to another service; this is a bug",
            code="document_owner",
        )
    return _collect(
        work,
        service,
        topic=topic,
        key=document.key,
        type_name=document_type(document.kind),
        body=document,
        at=at,
    )


def append_marker(work: UnitOfWork, service: str, marker: Marker) -> str:
    return _collect(
        work,
        service,
        topic=topics.documents_topic(service),
        key=f"marker/{service}",
        type_name=MARKER_TYPE,
        body=marker,
        at=marker.at,
    )


def append_raw(
    work: UnitOfWork,
    service: str,
    *,
    topic: str,
    key: str,
    event_id: str,
    type_name: str,
    value: bytes,
    at: datetime,
    must_understand: Sequence[str] = (),
) -> None:
    """Bytes that are already a public format (OCSF); the owner of the topic only."""
    _check_owner(service, topic)
    headers = headers_for(
        event_id=event_id,
        type_name=type_name,
        subject=key,
        source=service,
        time=at,
        must_understand=must_understand,
    )
    work.collect(_insert, (event_id, topic, key, type_name, value, headers, at))
    work.after_commit(work.wake_relay)


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
    SELECT event_id, topic, key, type, payload, headers, created_at FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[], $7::timestamptz[]
    ) WITH ORDINALITY AS row (event_id, topic, key, type, payload, headers, created_at, place)
    ORDER BY place
"""


def _collect(
    work: UnitOfWork, service: str, *, topic: str, key: str, type_name: str, body: Contract, at: datetime
) -> str:
    event_id = new_id()
    append_raw(
        work,
        service,
        topic=topic,
        key=key,
        event_id=event_id,
        type_name=type_name,
        value=body.model_dump_json().encode(),
        at=at,
        must_understand=body.MUST_UNDERSTAND if isinstance(body, Event) else (),
    )
    return event_id


async def _insert(work: UnitOfWork, rows: Sequence[tuple[Any, ...]]) -> None:
    """In one statement; ids are given in the order of the rows."""
    await work.conn.execute(_INSERT, *map(list, zip(*rows, strict=True)))


def _check_owner(service: str, topic: str) -> None:
    if topics.TOPICS[topic].owner != service:
        raise Bug(
            f"{service} wrote to {topic}, which belongs to another service; this is a bug", code="topic_owner"
        )


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no blanks, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
