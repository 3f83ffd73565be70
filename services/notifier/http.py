"""The notifier over HTTP: what was sent, what was not, and trying again. For those who run JIT."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from services.notifier import views
from services.notifier.commands import deliveries
from services.notifier.domain.delivery import State
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.http.access import Caller, requires
from shared.http.idempotency import Answer
from shared.http.writes import write


def router(context: Context, settings: NotifierSettings) -> APIRouter:
    router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"])

    @router.get("", dependencies=[requires("ops.read")])
    async def list_deliveries(
        ticket: str | None = None,
        recipient: str | None = None,
        state: State | None = None,
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """The newest first; `next` goes into `after`."""
        async with context.pool.acquire() as conn:
            items = await views.deliveries(
                conn,
                ticket=ticket,
                recipient=recipient,
                state=state,
                after=str(after) if after else None,
                limit=limit,
            )
        return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}

    @router.post("/{delivery_id}/retry", status_code=202, response_model=None)
    async def retry_delivery(delivery_id: UUID, caller: Caller = requires("ops.write")) -> Response:
        """Send a failed mail again, or one that waits for its next attempt at once."""
        return await write(
            context,
            caller,
            lambda work: deliveries.retry(context, work, caller, str(delivery_id), settings=settings),
            lambda state: Answer(202, {"id": str(delivery_id), "state": state}),
        )

    return router
