"""Routes for those who run the service: what was parked, what is wrong, and sending things again.

Paths carry the service's name, so that one address can serve all five. What is mended is a fact first.
"""

from datetime import datetime
from functools import partial
from uuid import UUID

from aiokafka import ConsumerRecord
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from shared.context import Context
from shared.contracts.configuration import OperationRequested
from shared.contracts.topics import COMPACTED
from shared.database.pool import transaction
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.foundation.errors import Conflict
from shared.foundation.shapes import Body, Shown
from shared.http.access import Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.openapi import WITHOUT_KEY
from shared.http.pages import IdCursor, Page, cut
from shared.http.parameters import Limit
from shared.http.routers import make_router
from shared.http.writes import write
from shared.messaging import dead_letters, outbox
from shared.messaging.consumer import Consumer
from shared.messaging.subscription import Outcome
from shared.observability.logs import logger
from shared.text.moments import Moment

log = logger("operations")


class ReplayBody(Body):
    """Send everything since a moment again; readers drop what they know."""

    since: Moment


class DeadLetter(Shown):
    """A record that could not be handled, with where it came from."""

    id: UUID
    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None = Field(description="as text, at most 2,000 characters")
    error: str
    parked_at: datetime
    replayed_at: datetime | None


class LetterReplayed(Shown):
    """What became of a record that was handled again."""

    id: UUID
    topic: str
    offset: int
    outcome: Outcome


class OutboxReplayed(Shown):
    """How many messages will be sent again."""

    marked: int


class DocumentsRepublished(Shown):
    """How many documents are published again, in the background, in batches."""

    documents: int


class AlertShown(Shown):
    """Something an administrator has to look at, until its cause is gone."""

    key: str
    summary: str
    detail: str
    since: datetime


def operations_router(context: Context, consumer: Consumer) -> APIRouter:
    router = make_router(f"{context.service} operations", f"/v1/ops/{context.service}")
    _add_letters(router, context, consumer)
    _add_sending_again(router, context)
    _add_alerts(router, context)
    return router


# Whoever mends the bus must not have to wait until it works.
_LOOKING, _MENDING = requires("ops.read", stale_ok=True), requires("ops.write", stale_ok=True)


def _add_letters(router: APIRouter, context: Context, consumer: Consumer) -> None:
    service = context.service

    @router.get("/dead-letters", dependencies=[_LOOKING], operation_id=f"list_{service}_dead_letters")
    async def list_dead_letters(cursor: IdCursor = None, limit: Limit = 50) -> Page[DeadLetter]:
        """Records that could not be handled, the newest first."""
        async with context.pool.acquire() as conn:
            found = await dead_letters.page(conn, after=cursor, limit=limit + 1)
        items, next_cursor = cut(found, limit, lambda one: str(one["id"]))
        return Page[DeadLetter](items=[DeadLetter(**one) for one in items], next_cursor=next_cursor)

    @router.post(
        "/dead-letters/{letter_id}/replay",
        status_code=202,
        operation_id=f"replay_{service}_dead_letter",
        responses={409: {"description": "its handler still fails, or nothing reads its topic"}},
        openapi_extra=WITHOUT_KEY,
    )
    async def replay_dead_letter(letter_id: UUID, caller: Caller = _MENDING) -> LetterReplayed:
        """Handle a parked record as if it had just arrived; if that still cannot be, it is parked anew."""
        async with context.pool.acquire() as conn:
            record = await dead_letters.find(conn, str(letter_id))
        if record.topic not in consumer.topics:
            raise Conflict(f"nothing here reads {record.topic} any more", code="topic_not_read")
        async with context.unit_of_work() as work:
            _note(context, work, caller, "dead_letter.replay", detail=str(letter_id))
        outcome = await _replay(consumer, record)
        async with transaction(context.pool) as conn:
            await dead_letters.mark_replayed(conn, str(letter_id), now=context.clock.now())
        return LetterReplayed(id=letter_id, topic=record.topic, offset=record.offset, outcome=outcome)


def _add_sending_again(router: APIRouter, context: Context) -> None:
    service = context.service

    @router.post(
        "/outbox/replay",
        status_code=202,
        response_model=OutboxReplayed,
        operation_id=f"replay_{service}_outbox",
    )
    async def replay_outbox(body: ReplayBody, caller: Caller = _MENDING) -> Response:
        """Send everything since a moment again; readers drop what they know."""

        async def command(work: UnitOfWork) -> OutboxReplayed:
            _note(context, work, caller, "outbox.replay", detail=f"since {body.since.isoformat()}")
            work.after_commit(work.wake_relay)
            return OutboxReplayed(marked=await outbox.replay(work.conn, body.since))

        return await write(context, caller, command, _accepted)

    if not any(topic.owner == service for topic in COMPACTED):
        return

    @router.post(
        "/documents/republish",
        status_code=202,
        response_model=DocumentsRepublished,
        operation_id=f"republish_{service}_documents",
    )
    async def republish_documents(caller: Caller = _MENDING) -> Response:
        """Publish all documents of this service again, for a topic that lost some."""
        return await write(context, caller, partial(_republish, context, caller), _accepted)


def _add_alerts(router: APIRouter, context: Context) -> None:
    @router.get("/alerts", dependencies=[_LOOKING], operation_id=f"list_{context.service}_alerts")
    async def list_alerts() -> Page[AlertShown]:
        """What is wrong right now."""
        items = [
            AlertShown(key=one.key, summary=one.summary, detail=one.detail, since=one.since)
            for one in context.alerts.active
        ]
        return Page[AlertShown](items=items, next_cursor=None)


async def _republish(context: Context, caller: Caller, work: UnitOfWork) -> DocumentsRepublished:
    _note(context, work, caller, "documents.republish")
    work.after_commit(context.republish)
    return DocumentsRepublished(documents=len(await document_store.revisions(work.conn)))


def _accepted(result: BaseModel) -> StoredAnswer:
    return StoredAnswer(202, result.model_dump(mode="json"))


def _note(context: Context, work: UnitOfWork, caller: Caller, operation: str, *, detail: str = "") -> None:
    """Who had what done, in the caller's unit of work."""
    fact = OperationRequested(
        subject=caller.user_id,
        actor=caller.actor,
        why="an administrator mends the bus",
        cause=caller.cause,
        at=context.clock.now(),
        operation=operation,
        detail=detail,
    )
    context.record(work, fact)


async def _replay(consumer: Consumer, record: ConsumerRecord) -> Outcome:
    """Once, and without back-off: somebody waits for the answer."""
    try:
        return await consumer.replay(record)
    except Exception as error:
        log.exception("dead letter fails again", topic=record.topic, offset=record.offset)
        raise Conflict(
            f"its handler fails ({type(error).__name__}, see the log); it stays parked: mend the cause",
            code="replay_failed",
        ) from error
