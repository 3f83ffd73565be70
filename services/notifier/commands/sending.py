"""Deliveries become mails: claim one, send it outside of any transaction, record what became of it.

Level-triggered and leaderless: any number of senders in any number of replicas, woken by a nudge and by a
timer. A row is sent twice only when a process dies between the server's "250" and our record of it; the
repeat has the same Message-ID.
"""

from services.notifier import store
from services.notifier.domain import letters
from services.notifier.domain.delivery import (
    Accepted,
    Again,
    Deferred,
    GivenUp,
    Outcome,
    Patience,
    Refused,
    Settlement,
    settle,
    thread_id,
)
from services.notifier.domain.notice import usable
from services.notifier.email.message import BadAddress, Envelope, compose
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from services.notifier.store import Claimed
from shared.context import Context
from shared.contracts.documents import User
from shared.contracts.event import Event
from shared.contracts.notification import NotificationFailed, NotificationSent
from shared.database.pool import transaction
from shared.foundation.errors import Conflict
from shared.messaging import outbox
from shared.observability.logs import logger

NO_ADDRESS = "neither the inventory nor the fact knows an address of this person"

log = logger("notifier")


async def send_next(context: Context, settings: NotifierSettings, mailer: Mailer) -> Outcome | None:
    """Send the next mail that is due; None when there is none."""
    now = context.clock.now()
    async with transaction(context.pool) as conn:
        claimed = await store.claim(conn, now=now, leased_until=now + settings.mail_lease)
    if claimed is None:
        return None
    address = _address(context, claimed)
    outcome = await _send(context, settings, mailer, claimed, address)
    await _record(context, settings, claimed, outcome, address)
    return outcome


async def _send(
    context: Context, settings: NotifierSettings, mailer: Mailer, claimed: Claimed, address: str | None
) -> Outcome:
    if address is None:
        return Refused(NO_ADDRESS)
    user = context.world.user(claimed.recipient.user_id)
    letter = letters.write(
        claimed.event, claimed.template, claimed.ticket, context.world, public_url=settings.public_url
    )
    envelope = Envelope(
        address=address,
        name=user.display_name if user else "",
        message_id=claimed.message_id,
        thread_id=thread_id(claimed.ticket_id, domain=settings.message_domain),
        domain=settings.message_domain,
        sender=settings.smtp.sender,
        at=context.clock.now(),
    )
    try:
        message = compose(letter, envelope)
    except BadAddress as error:
        return Refused(str(error))
    return await mailer.send(message, address)


def _address(context: Context, claimed: Claimed) -> str | None:
    """The inventory's, as it is now; else what the fact knew."""
    user: User | None = context.world.user(claimed.recipient.user_id)
    return usable(user.email if user else None) or claimed.recipient.address


async def _record(
    context: Context, settings: NotifierSettings, claimed: Claimed, outcome: Outcome, address: str | None
) -> None:
    now = context.clock.now()
    settlement = settle(
        outcome,
        attempt=claimed.attempt,
        patience=Patience(settings.mail_first_delay, settings.mail_longest_delay),
        give_up_at=claimed.give_up_at,
        now=now,
    )
    try:
        async with transaction(context.pool) as conn:
            await store.settle(conn, claimed, settlement, address=address, now=now)
            if fact := _fact(context, claimed, settlement, address):
                await outbox.append(conn, context.service, fact)
    except Conflict as error:  # we were slower than our lease; the other sender's record stands
        log.warning("delivery settled by another sender", delivery=claimed.id, error=error.detail)
        return
    _log(claimed, outcome)
    if isinstance(settlement, GivenUp):
        await _raise_alert(context, claimed, settlement)


def _fact(context: Context, claimed: Claimed, settlement: Settlement, address: str | None) -> Event | None:
    """What the others are told; nothing while the delivery is still pending."""
    if isinstance(settlement, Again):
        return None
    common = {
        "subject": claimed.ticket_id,
        "actor": context.actor,
        "cause": claimed.event_id,
        "at": context.clock.now(),
        "ticket_id": claimed.ticket_id,
        "event_id": claimed.event_id,
        "recipient": claimed.recipient.user_id,
        "address": address,
        "template": claimed.template.value,
        "message_id": claimed.message_id,
    }
    again = f", tried again by {claimed.retried_by}" if claimed.retried_by else ""
    if isinstance(settlement, GivenUp):
        why = f"the mail could not be delivered{again}"
        return NotificationFailed(**common, why=why, smtp_code=settlement.code, detail=settlement.detail)
    return NotificationSent(**common, why=f"the mail server took the mail{again}", attempts=claimed.attempt)


async def _raise_alert(context: Context, claimed: Claimed, settlement: GivenUp) -> None:
    await context.alerts.raise_alert(
        key=f"undeliverable_mail/{claimed.id}",
        summary="notifier: undeliverable mail",
        detail=f"{claimed.template} of ticket {claimed.ticket_id} to {claimed.recipient.user_id}: "
        f"{settlement.detail}. See GET /v1/deliveries?state=failed; "
        f"POST /v1/deliveries/{claimed.id}/retry sends it again.",
        once=True,
    )


def _log(claimed: Claimed, outcome: Outcome) -> None:
    fields = {"delivery": claimed.id, "ticket": claimed.ticket_id, "template": claimed.template.value}
    if isinstance(outcome, Accepted):
        log.info("mail sent", attempt=claimed.attempt, **fields)
    elif isinstance(outcome, Deferred):
        log.warning("mail deferred", attempt=claimed.attempt, error=outcome.detail, **fields)
    else:
        log.error("mail refused", attempt=claimed.attempt, error=outcome.detail, **fields)
