"""What an operator may do about a mail."""

from services.notifier.domain.delivery import State, check_retry
from services.notifier.settings import NotifierSettings
from services.notifier.store import deliveries
from shared.context import Context
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import NotFound
from shared.http.access import Caller
from shared.observability.logs import logger

log = logger("notifier")


async def retry(
    context: Context, work: UnitOfWork, caller: Caller, delivery_id: str, *, settings: NotifierSettings
) -> State:
    """Make a delivery due now, whatever became of it before, unless it was sent. Keeps its Message-ID."""
    now = context.clock.now()
    state = await deliveries.lock_state(work.conn, delivery_id)
    if state is None:
        raise NotFound("there is no such delivery; see GET /v1/deliveries", code="delivery_unknown")
    check_retry(state)
    give_up_at = now + settings.mail_give_up_after
    await deliveries.make_due(work.conn, delivery_id, by=caller.actor.name, give_up_at=give_up_at, now=now)
    work.after_commit(context.nudge)
    work.after_commit(
        lambda: log.info("mail retried", service=context.service, delivery=delivery_id, by=caller.actor.name)
    )
    return State.PENDING
