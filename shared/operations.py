"""Routes for those who run the service: what was parked, what is wrong, and sending things again.

Paths carry the service's name, so that one address can serve all five.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from shared import dead_letters, documents, outbox
from shared.access import requires
from shared.consumer import Consumer
from shared.context import Context
from shared.db import transaction
from shared.errors import NotReady
from shared.topics import COMPACTED


class ReplayBody(BaseModel):
    """Send everything since a moment again; readers drop what they know."""

    model_config = ConfigDict(extra="forbid")

    since: datetime


def operations_router(context: Context, consumers: list[Consumer]) -> APIRouter:
    router = APIRouter(prefix=f"/v1/ops/{context.service}", tags=["operations"])

    @router.get("/dead-letters", dependencies=[requires("ops.read")])
    async def list_dead_letters(
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        async with context.pool.acquire() as conn:
            items = await dead_letters.page(conn, after=str(after) if after else None, limit=limit)
        return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}

    @router.post("/dead-letters/{letter_id}/replay", status_code=202, dependencies=[requires("ops.write")])
    async def replay_dead_letter(letter_id: UUID) -> dict[str, Any]:
        """Handle a parked record as if it had just arrived; if that still cannot be, it is parked anew."""
        async with transaction(context.pool) as conn:
            record = await dead_letters.take(conn, str(letter_id), now=context.clock.now())
        consumer = next((one for one in consumers if one.topic == record.topic), None)
        if consumer is None:
            raise NotReady(f"nothing here reads {record.topic} any more", code="topic_not_read")
        await consumer.run_record(record)
        return {"id": str(letter_id), "topic": record.topic, "offset": record.offset}

    @router.post("/outbox/replay", status_code=202, dependencies=[requires("ops.write")])
    async def replay_outbox(body: ReplayBody) -> dict[str, int]:
        async with transaction(context.pool) as conn:
            return {"marked": await outbox.replay(conn, body.since)}

    @router.get("/alerts", dependencies=[requires("ops.read")])
    async def list_alerts() -> dict[str, Any]:
        return {
            "items": [
                {"key": alert.key, "summary": alert.summary, "detail": alert.detail, "since": alert.since}
                for alert in context.alerts.active
            ]
        }

    if any(topic.owner == context.service for topic in COMPACTED):

        @router.post("/documents/republish", status_code=202, dependencies=[requires("ops.write")])
        async def republish_documents() -> dict[str, int]:
            async with transaction(context.pool) as conn:
                now = context.clock.now()
                count = await documents.republish(conn, context.service, at=now)
                await documents.publish_marker(conn, context.service, at=now)
            return {"documents": count}

    return router
