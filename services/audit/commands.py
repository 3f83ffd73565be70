"""What the audit service does: keep a fact, keep a fact of its own, and note who read the log.

A fact, its record and the record's publication are one transaction. The log knows every event it ever took,
by id and source, so it is the inbox here: rows of the shared one are forgotten after weeks, and the log must
not take a replayed fact twice even years later.
"""

from typing import Any

from prometheus_client import Counter, Gauge

from services.audit import store
from services.audit.domain.mapping import Product, Record, Untranslatable, translate, untranslated
from services.audit.store import SERVICE
from shared.context import Context
from shared.contracts.change import Alert, Change
from shared.contracts.configuration import AuditRead
from shared.contracts.event import Event
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import Denied, NotFound
from shared.http.access import Caller
from shared.messaging.envelope import Received
from shared.observability.logs import logger

APPENDED = Counter("jit_audit_appended_total", "Records appended to the audit log", ["code"])
LAST_SEQUENCE = Gauge("jit_audit_last_sequence", "Sequence of the last record this process appended")

log = logger("audit")


async def keep(context: Context, work: UnitOfWork, received: Received[Any], *, product: Product) -> None:
    """Append one fact from a topic; a known one changes nothing."""
    envelope = received.envelope
    change = _translated(received.event, event_id=envelope.id, source=envelope.source, product=product)
    await _save(context, work, change)


async def record(context: Context, conn: Conn, event: Event, *, product: Product) -> None:
    """Append a fact of this service, in the caller's transaction; it has no topic to go through."""
    work = UnitOfWork(conn)
    await _save(context, work, _translated(event, event_id=new_id(), source=SERVICE, product=product))
    for alert in work.alerts:  # the caller's transaction has no place for them
        await context.alerts.raise_alert(key=alert.key, summary=alert.summary, detail=alert.detail, once=True)


async def note_reading(
    context: Context, work: UnitOfWork, caller: Caller, *, query: dict[str, str], returned: int
) -> None:
    """Record who looks at what. It is shown only once this is committed."""
    fact = AuditRead(
        subject=caller.user_id,
        actor=caller.actor,
        why="the audit log was read",
        cause=caller.cause,
        at=context.clock.now(),
        query=query,
        returned=returned,
    )
    await context.record(work.conn, fact)


async def admit(context: Context, caller: Caller, ticket_id: str) -> bool:
    """To a ticket's trail: auditors, and who is a party by the log's own word. For others there is none.

    True for an auditor, who sees records whole; False for one who is a party only.
    """
    if context.policy.snapshot().may(caller.user_id, "audit.read", now=context.clock.now()).allowed:
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


async def _save(context: Context, work: UnitOfWork, change: Change[Record]) -> None:
    sequence = await store.save(work, change, at=context.clock.now())
    if sequence is not None:
        APPENDED.labels(change.state.code).inc()
        LAST_SEQUENCE.set(sequence)


def _translated(event: Event, *, event_id: str, source: str, product: Product) -> Change[Record]:
    """The event's record, or the record that it could not be made, with an alert."""
    try:
        return Change(translate(event, event_id=event_id, source=source, product=product))
    except Untranslatable as error:
        log.exception("fact not translated", event_id=event_id, type=event.TYPE)
        kept = untranslated(event, str(error), event_id=event_id, source=source, product=product)
        alert = Alert(
            key=f"audit/untranslated/{event.TYPE}",
            summary=f"audit: {event.TYPE} cannot be translated to OCSF",
            detail=f"event {event_id} of {source} is in the log as a translation error: {error}. "
            f"Its body is in the outbox of {source} for 30 days.",
        )
        return Change(kept, alerts=(alert,))
