"""What the audit service does: keep a fact, keep a fact of its own, and note who read the log.

A fact, its record and the record's publication are one transaction. The log knows every event it ever took,
by id and source, so it is the inbox here: rows of the shared one are forgotten after weeks, and the log must
not take a replayed fact twice even years later.
"""

from typing import Any
from uuid import UUID, uuid5

import asyncpg
from prometheus_client import Counter, Gauge

from services.audit import store
from services.audit.domain.mapping import Draft, Product, Untranslatable, translate, untranslated
from shared.context import Context
from shared.contracts.configuration import AuditRead
from shared.contracts.event import Event
from shared.contracts.topics import AUDIT_OCSF
from shared.database.pool import Conn, transaction
from shared.foundation.clock import new_id
from shared.foundation.errors import Denied, NotFound, NotReady
from shared.http.access import Caller
from shared.messaging import outbox
from shared.messaging.envelope import Received
from shared.observability.logs import logger

SERVICE = "audit"

APPENDED = Counter("jit_audit_appended_total", "Records appended to the audit log", ["code"])
LAST_SEQUENCE = Gauge("jit_audit_last_sequence", "Sequence of the last record this process appended")

log = logger("audit")


async def keep(context: Context, product: Product, received: Received[Any]) -> None:
    """Append one fact from a topic; a known one changes nothing."""
    envelope = received.envelope
    async with transaction(context.pool) as conn:
        await _append(
            context, conn, received.event, event_id=envelope.id, source=envelope.source, product=product
        )


async def record(context: Context, product: Product, conn: Conn, event: Event) -> None:
    """Append a fact of this service, in the caller's transaction; it has no topic to go through."""
    await _append(context, conn, event, event_id=new_id(), source=SERVICE, product=product)


async def note_reading(context: Context, caller: Caller, *, query: dict[str, str], returned: int) -> None:
    """Record who looks at what, before it is shown. Raises NotReady where that cannot be recorded."""
    fact = AuditRead(
        subject=caller.user_id,
        actor=caller.actor,
        why="the audit log was read",
        cause=caller.cause,
        at=context.clock.now(),
        query=query,
        returned=returned,
    )
    try:
        async with transaction(context.pool) as conn:
            await context.record(conn, fact)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError) as error:
        log.exception("reading not recorded")
        raise NotReady(
            "your reading cannot be recorded right now, so nothing is shown; try again in a few seconds",
            code="reading_unrecorded",
        ) from error


async def admit(context: Context, caller: Caller, ticket_id: str) -> bool:
    """To a ticket's trail: auditors, and who is a party by the log's own word. For others there is none.

    True for an auditor, who sees records whole; False for one who is a party only.
    """
    if context.world.may(caller.user_id, "audit.read", now=context.clock.now()).allowed:
        return True
    async with context.pool.acquire() as conn:
        party = await store.is_party(conn, ticket_id, caller.user_id)
    if not party:
        raise no_trail(Denied("audit.read", ticket_id, object_id=ticket_id))
    return False


def no_trail(denied: Denied | None = None) -> NotFound:
    """The same answer for a ticket that is not there and for one that is not the caller's."""
    return NotFound(
        "nothing is recorded about this ticket, or it is not yours to see",
        code="trail_unknown",
        denied=denied,
    )


async def _append(
    context: Context, conn: Conn, event: Event, *, event_id: str, source: str, product: Product
) -> None:
    """Record and publication, under the head's lock; the sequence follows the order of commits."""
    draft = await _draft(context, event, event_id=event_id, source=source, product=product)
    sequence = await store.next_sequence(conn, event_id, source)
    if sequence is None:
        return
    # A published id is its reader's to tell records by: only the first fact of a reused one can have it.
    published_id = str(uuid5(UUID(event_id), source)) if await store.is_taken(conn, event_id) else event_id
    now = context.clock.now()
    bytes_kept = draft.stamped(sequence, now)
    await store.append(conn, draft, sequence=sequence, recorded_at=now, record=bytes_kept)
    await outbox.append_raw(
        conn, SERVICE, topic=AUDIT_OCSF, key=draft.key, event_id=published_id,
        type_name=f"audit.{draft.code}.v1", value=bytes_kept, at=now,
    )  # fmt: skip
    APPENDED.labels(draft.code).inc()
    LAST_SEQUENCE.set(sequence)


async def _draft(context: Context, event: Event, *, event_id: str, source: str, product: Product) -> Draft:
    """The event's record, or the record that it could not be made, with an alert."""
    try:
        return translate(event, event_id=event_id, source=source, product=product)
    except Untranslatable as error:
        log.exception("fact not translated", event_id=event_id, type=event.TYPE)
        await context.alerts.raise_alert(
            key=f"audit/untranslated/{event.TYPE}",
            summary=f"audit: {event.TYPE} cannot be translated to OCSF",
            detail=f"event {event_id} of {source} is in the log as a translation error: {error}. "
            f"Its body is in the outbox of {source} for 30 days.",
            once=True,
        )
        return untranslated(event, str(error), event_id=event_id, source=source, product=product)
