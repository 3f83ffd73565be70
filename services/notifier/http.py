"""The notifier over HTTP: what was sent, what was not, and trying again. For those who run JIT."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from services.notifier import views
from services.notifier.commands import deliveries
from services.notifier.domain.delivery import State
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.foundation.shapes import Shown
from shared.http.access import Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.names import user_id_of
from shared.http.pages import IdCursor, Page, cut
from shared.http.parameters import Limit, TicketIdFilter, UserIdFilter
from shared.http.routers import make_router
from shared.http.writes import write


class DeliveryShown(Shown):
    """One mail to one person: what it was about, and what became of it."""

    id: UUID
    event_ids: list[UUID] = Field(description="the facts it tells of")
    ticket_id: str | None = Field(description="null for a mail about no ticket")
    recipient: str = Field(description="an Identity Store user id")
    template: str
    state: State
    attempts: int
    address: str | None = Field(description="where it was sent")
    message_id: str
    smtp_code: int | None = Field(description="the mail server's last answer")
    detail: str
    retried_by: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    settled_at: datetime | None


class DeliveryRetried(Shown):
    """A mail that will be sent again at once."""

    id: UUID
    state: State


def router(context: Context, settings: NotifierSettings) -> APIRouter:
    router = make_router("deliveries", "/v1/deliveries")

    @router.get("")
    async def list_deliveries(
        ticket_id: TicketIdFilter = None,
        user_id: UserIdFilter = None,
        state: State | None = None,
        cursor: IdCursor = None,
        limit: Limit = 50,
        caller: Caller = requires("ops.read"),
    ) -> Page[DeliveryShown]:
        """Mails, the newest first."""
        async with context.pool.acquire() as conn:
            found = await views.deliveries(
                conn,
                ticket=str(ticket_id) if ticket_id else None,
                recipient=user_id_of(context, caller, user_id),
                state=state,
                after=cursor,
                limit=limit + 1,
            )
        items, next_cursor = cut(found, limit, lambda one: str(one["id"]))
        return Page[DeliveryShown](items=[DeliveryShown(**one) for one in items], next_cursor=next_cursor)

    @router.post("/{delivery_id}/retry", status_code=202, response_model=DeliveryRetried)
    async def retry_delivery(delivery_id: UUID, caller: Caller = requires("ops.write")) -> Response:
        """Send a failed mail again, or one that waits for its next attempt at once."""
        return await write(
            context,
            caller,
            lambda work: deliveries.retry(context, work, caller, str(delivery_id), settings=settings),
            lambda state: StoredAnswer(
                202, DeliveryRetried(id=delivery_id, state=state).model_dump(mode="json")
            ),
        )

    return router
