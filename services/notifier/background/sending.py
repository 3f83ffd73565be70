"""Deliveries become mails: claim one, send it outside of any transaction, save what became of it.

Level-triggered and leaderless: any number of senders in any number of replicas, woken by a nudge and by a
timer. A row is sent twice only when a process dies between the server's "250" and our record of it; the
repeat has the same Message-ID.
"""

from dataclasses import replace

from services.notifier.domain.composition import compose_content
from services.notifier.domain.content import Addresses
from services.notifier.domain.delivery import (
    Accepted,
    Deferred,
    Delivery,
    Outcome,
    Patience,
    Refused,
    Settlement,
    settle,
    thread_id,
)
from services.notifier.domain.notice import usable
from services.notifier.email.message import BadAddress, Headers, compose
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from services.notifier.store import deliveries
from shared.context import Context
from shared.contracts.change import Change
from shared.contracts.documents import User
from shared.foundation.errors import Conflict
from shared.observability.logs import logger

NO_ADDRESS = "neither the inventory nor the fact knows an address of this person"

log = logger("notifier")


async def send_next(context: Context, mailer: Mailer, *, settings: NotifierSettings) -> Outcome | None:
    """Send the next mail that is due; None when there is none."""
    now = context.clock.now()
    async with context.unit_of_work() as work:
        delivery = await deliveries.claim(work.conn, now=now, leased_until=now + settings.mail_lease)
    if delivery is None:
        return None
    address = _address(context, delivery)
    outcome = await _send(context, mailer, delivery, address, settings)
    await _settle(context, delivery, outcome, address, settings)
    return outcome


async def _send(
    context: Context, mailer: Mailer, delivery: Delivery, address: str | None, settings: NotifierSettings
) -> Outcome:
    if address is None:
        return Refused(NO_ADDRESS)
    snapshot = context.policy.known()
    user = snapshot.user(delivery.recipient.user_id)
    addresses = Addresses(settings.public_url, settings.pages_url)
    headers = Headers(
        address=address,
        name=user.display_name if user else "",
        message_id=delivery.message_id,
        thread_id=thread_id(delivery.ticket_id, domain=settings.message_domain),
        domain=settings.message_domain,
        sender=settings.smtp.sender,
        at=context.clock.now(),
    )
    try:
        message = compose(compose_content(delivery.notices, delivery.template, snapshot, addresses), headers)
    except BadAddress as error:
        return Refused(str(error))
    return await mailer.send(message, address)


def _address(context: Context, delivery: Delivery) -> str | None:
    """The inventory's, as it is now; else what the fact knew."""
    user: User | None = context.policy.known().user(delivery.recipient.user_id)
    return usable(user.email if user else None) or delivery.recipient.address


async def _settle(
    context: Context, delivery: Delivery, outcome: Outcome, address: str | None, settings: NotifierSettings
) -> None:
    origin = replace(context.origin(), cause=delivery.event_ids[0])
    patience = Patience(settings.mail_first_delay, settings.mail_longest_delay)
    change = settle(delivery, outcome, patience=patience, address=address, origin=origin)
    try:
        await _save(context, delivery, change, address)
    except Conflict as error:  # we were slower than our lease; the other sender's record stands
        log.warning("delivery settled by another sender", **_ids(context, delivery), error=error.detail)
        return
    _log(context, delivery, outcome)


async def _save(
    context: Context, delivery: Delivery, change: Change[Settlement], address: str | None
) -> None:
    async with context.unit_of_work() as work:
        await deliveries.save(work, delivery, change, address=address, now=context.clock.now())


def _ids(context: Context, delivery: Delivery) -> dict[str, str]:
    return {
        "service": context.service,
        "ticket": delivery.ticket_id,
        "delivery": delivery.id,
        "template": delivery.template.value,
    }


def _log(context: Context, delivery: Delivery, outcome: Outcome) -> None:
    fields = {**_ids(context, delivery), "attempt": delivery.attempt, "facts": len(delivery.notices)}
    if isinstance(outcome, Accepted):
        log.info("mail sent", **fields)
    elif isinstance(outcome, Deferred):
        log.warning("mail deferred", error=outcome.detail, **fields)
    else:
        log.error("mail refused", error=outcome.detail, **fields)
