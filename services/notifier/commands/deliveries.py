"""What an operator may do about a mail."""

from datetime import datetime

from services.notifier import store
from services.notifier.domain.delivery import State, check_retry
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.database.pool import Conn, transaction
from shared.foundation.errors import NotFound
from shared.http import idempotency
from shared.http.access import Caller
from shared.http.idempotency import Answer


async def retry(context: Context, settings: NotifierSettings, caller: Caller, delivery_id: str) -> Answer:
    """Make a delivery due now, whatever became of it before, unless it was sent. Keeps its Message-ID."""
    now = context.clock.now()
    async with transaction(context.pool) as conn:
        return await idempotency.once(
            conn, caller.key, lambda: _retry(conn, settings, caller, delivery_id, now), now=now
        )


async def _retry(
    conn: Conn, settings: NotifierSettings, caller: Caller, delivery_id: str, now: datetime
) -> Answer:
    state = await store.lock_state(conn, delivery_id)
    if state is None:
        raise NotFound("there is no such delivery; see GET /v1/deliveries", code="delivery_unknown")
    check_retry(state)
    await store.make_due(
        conn, delivery_id, by=caller.actor.name, give_up_at=now + settings.mail_give_up_after, now=now
    )
    return Answer(202, {"id": delivery_id, "state": State.PENDING})
