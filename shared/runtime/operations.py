"""Routes for those who run the service: what was parked, what is wrong, and sending things again.

Paths carry the service's name, so that one address can serve all five. What is mended is a fact first.
"""

from typing import Annotated, Any
from uuid import UUID

from aiokafka import ConsumerRecord
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from shared.context import Context
from shared.contracts.configuration import OperationRequested
from shared.contracts.topics import COMPACTED
from shared.database.pool import Conn, transaction
from shared.documents import document_store
from shared.foundation.errors import Conflict
from shared.http.access import Caller, requires
from shared.messaging import dead_letters, outbox
from shared.messaging.consumer import Consumer, Outcome
from shared.observability.logs import logger
from shared.text.moments import Moment

log = logger("operations")


class ReplayBody(BaseModel):
    """Send everything since a moment again; readers drop what they know."""

    model_config = ConfigDict(extra="forbid")

    since: Moment


def operations_router(context: Context, consumers: list[Consumer]) -> APIRouter:
    router = APIRouter(prefix=f"/v1/ops/{context.service}", tags=["operations"])
    # Whoever mends the bus must not have to wait until it works.
    looking, mending = requires("ops.read", stale_ok=True), requires("ops.write", stale_ok=True)

    @router.get("/dead-letters", dependencies=[looking])
    async def list_dead_letters(
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        async with context.pool.acquire() as conn:
            items = await dead_letters.page(conn, after=str(after) if after else None, limit=limit)
        return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}

    @router.post("/dead-letters/{letter_id}/replay", status_code=202)
    async def replay_dead_letter(letter_id: UUID, caller: Caller = mending) -> dict[str, Any]:
        """Handle a parked record as if it had just arrived; if that still cannot be, it is parked anew."""
        async with context.pool.acquire() as conn:
            record = await dead_letters.find(conn, str(letter_id))
        consumer = next((one for one in consumers if one.topic == record.topic), None)
        if consumer is None:
            raise Conflict(f"nothing here reads {record.topic} any more", code="topic_not_read")
        async with transaction(context.pool) as conn:
            await _note(context, conn, caller, "dead_letter.replay", detail=str(letter_id))
        outcome = await _replay(consumer, record)
        async with transaction(context.pool) as conn:
            await dead_letters.mark_replayed(conn, str(letter_id), now=context.clock.now())
        return {
            "id": str(letter_id),
            "topic": record.topic,
            "offset": record.offset,
            "outcome": outcome,
        }

    @router.post("/outbox/replay", status_code=202)
    async def replay_outbox(body: ReplayBody, caller: Caller = mending) -> dict[str, int]:
        async with transaction(context.pool) as conn:
            await _note(context, conn, caller, "outbox.replay", detail=f"since {body.since.isoformat()}")
            return {"marked": await outbox.replay(conn, body.since)}

    @router.get("/alerts", dependencies=[looking])
    async def list_alerts() -> dict[str, Any]:
        return {
            "items": [
                {"key": alert.key, "summary": alert.summary, "detail": alert.detail, "since": alert.since}
                for alert in context.alerts.active
            ]
        }

    if any(topic.owner == context.service for topic in COMPACTED):

        @router.post("/documents/republish", status_code=202)
        async def republish_documents(caller: Caller = mending) -> dict[str, int]:
            async with transaction(context.pool) as conn:
                await _note(context, conn, caller, "documents.republish")
                now = context.clock.now()
                count = await document_store.republish(conn, context.service, at=now)
                await document_store.publish_marker(conn, context.service, at=now)
            return {"documents": count}

    return router


async def _note(context: Context, conn: Conn, caller: Caller, operation: str, *, detail: str = "") -> None:
    """Who had what done, in the caller's transaction."""
    fact = OperationRequested(
        subject=caller.user_id,
        actor=caller.actor,
        why="an administrator mends the bus",
        cause=caller.cause,
        at=context.clock.now(),
        operation=operation,
        detail=detail,
    )
    await context.record(conn, fact)


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
