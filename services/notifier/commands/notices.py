"""Facts become deliveries: who is to be told is decided and stored here, in the consumer's transaction.

Nothing is sent here; services/notifier/commands/sending.py does, later.
"""

from services.notifier import store
from services.notifier.domain.delivery import message_id
from services.notifier.domain.notice import Notice, notice_of, ticket_id_of
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.contracts.event import Event
from shared.contracts.ticket import TicketFact
from shared.database.pool import Conn, transaction
from shared.foundation.clock import new_id
from shared.messaging import inbox
from shared.messaging.envelope import Received


async def hear_of_ticket(
    context: Context, settings: NotifierSettings, received: Received[TicketFact]
) -> None:
    """Learn the ticket, tell of the fact, and of what has waited for the ticket to be known."""
    event, now = received.event, context.clock.now()
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=now):
            return
        await store.lock_ticket(conn, event.ticket.id)
        await store.learn_ticket(conn, event.ticket, now=now)
        if notice := notice_of(event, event.ticket):
            await store.add_notice(
                conn, received.id, event, ticket_id=event.ticket.id, ticket=None, held=False, now=now
            )
            await _deliver(conn, context, settings, received.id, event, notice)
        for held in await store.release_held(conn, event.ticket):
            if late := notice_of(held.event, event.ticket):
                await _deliver(conn, context, settings, held.event_id, held.event, late)


async def hear_of_access_or_review(
    context: Context, settings: NotifierSettings, received: Received[Event]
) -> None:
    """Tell of a fact that names its ticket by id only.

    The topics are read independently, so it may come before its ticket. It is then put aside, not
    retried: a retry would block its partition, and with it every other ticket's news, for as long as
    the ticket's own topic is behind. `tell_overdue` ends the wait.
    """
    event, now = received.event, context.clock.now()
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=now):
            return
        ticket_id = ticket_id_of(event)
        await store.lock_ticket(conn, ticket_id)
        ticket = await store.known_ticket(conn, ticket_id)
        notice = notice_of(event, ticket)
        if notice is None:
            return
        await store.add_notice(
            conn, received.id, event, ticket_id=ticket_id, ticket=ticket, held=ticket is None, now=now
        )
        if ticket is not None:
            await _deliver(conn, context, settings, received.id, event, notice)


async def tell_overdue(context: Context, settings: NotifierSettings) -> int:
    """Deliver what has waited too long for its ticket, with what it says itself; the number of facts."""
    before = context.clock.now() - settings.mail_hold
    async with transaction(context.pool) as conn:
        overdue = await store.take_overdue(conn, received_before=before)
        for held in overdue:
            if notice := notice_of(held.event, None):
                await _deliver(conn, context, settings, held.event_id, held.event, notice)
    return len(overdue)


async def _deliver(
    conn: Conn, context: Context, settings: NotifierSettings, event_id: str, event: Event, notice: Notice
) -> None:
    now = context.clock.now()
    deliveries = [
        store.NewDelivery(
            new_id(),
            recipient,
            message_id(event_id, recipient.user_id, domain=settings.message_domain),
        )
        for recipient in notice.recipients
    ]
    await store.add_deliveries(
        conn,
        event_id,
        deliveries,
        ticket_id=ticket_id_of(event),
        template=notice.template,
        happened_at=event.at,
        give_up_at=now + settings.mail_give_up_after,
        now=now,
    )
