"""What the audit service does: keep a fact, keep a fact of its own, and note who read the log.

A fact, its record and the record's publication are one transaction. The log knows every event it ever took,
by id and source, so it is the inbox here: rows of the shared one are forgotten after weeks, and the log must
not take a replayed fact twice even years later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from prometheus_client import Counter, Gauge

from services.audit import store
from services.audit.domain.mapping import Product, Record, Untranslatable, translate, untranslated
from services.audit.store import SERVICE, Numbered
from shared.context import Context
from shared.contracts.change import Alert, Change
from shared.contracts.configuration import AuditRead
from shared.contracts.event import Event
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
    _collect(context, work, received.event, event_id=envelope.id, source=envelope.source, product=product)


def record(context: Context, work: UnitOfWork, event: Event, *, product: Product) -> None:
    """Append a fact of this service, in the caller's unit of work; it has no topic to go through."""
    _collect(context, work, event, event_id=new_id(), source=SERVICE, product=product)


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
    context.record(work, fact)


async def admit(context: Context, caller: Caller, ticket_id: str) -> bool:
    """To a ticket's trail: auditors, and who is a party by the log's own word. For others there is none.

    True for an auditor, who sees records whole; False for one who is a party only.
    """
    if context.policy.snapshot().may(caller.user_id, "audit.read", now=context.clock.now()).allowed:
        return True
    async with context.pool.acquire() as conn:
        if await store.is_party(conn, ticket_id, caller.user_id):
            return False
        recorded = await store.is_recorded(conn, ticket_id)
    raise no_trail(Denied("audit.read", ticket_id, object_id=ticket_id) if recorded else None)


def no_trail(denied: Denied | None = None) -> NotFound:
    """The same answer for a ticket that is not there and for one that is not the caller's."""
    return NotFound(
        "nothing is recorded about this ticket, or it is not yours to see",
        code="trail_unknown",
        denied=denied,
    )


def _collect(
    context: Context, work: UnitOfWork, event: Event, *, event_id: str, source: str, product: Product
) -> None:
    """All facts of one unit of work are appended together, right before its commit."""
    change = _translated(event, event_id=event_id, source=source, product=product)
    work.collect(_append, _ToAppend(context.clock.now(), change))


@dataclass(frozen=True, slots=True)
class _ToAppend:
    at: datetime
    change: Change[Record]


async def _append(work: UnitOfWork, collected: Sequence[_ToAppend]) -> None:
    appended = await store.save(work, [one.change.state for one in collected], at=collected[-1].at)
    kept = {id(one.record) for one in appended}
    for one in collected:
        if id(one.change.state) in kept:
            work.alert(*one.change.alerts)
    work.after_commit(partial(_count, appended))


def _count(appended: Sequence[Numbered]) -> None:
    for one in appended:
        APPENDED.labels(one.record.code).inc()
        LAST_SEQUENCE.set(one.place.sequence)


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
