"""Deliveries become mails: claim some, send them outside of any transaction, save what became of them.

Level-triggered and leaderless: any number of senders in any number of replicas, woken by a nudge and by a
timer. A mail is sent twice only when a process dies between the server's "250" and our record of it, which is
made for all that were claimed together; the repeat has the same Message-ID.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from services.notifier.domain.composition import compose_content
from services.notifier.domain.content import Addresses
from services.notifier.domain.delivery import (
    Accepted,
    Deferred,
    Delivery,
    Outcome,
    Patience,
    Refused,
    Settled,
    settle,
    thread_id,
)
from services.notifier.domain.notice import usable
from services.notifier.email.message import BadAddress, Headers, compose
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from services.notifier.store import deliveries
from shared.context import Context
from shared.contracts.documents import User
from shared.observability.logs import logger

AT_ONCE: Final = 10
"""Mails claimed and settled together; their lease is as long as that of one."""
TOGETHER_WITHIN: Final = timedelta(seconds=2)
"""A slow server's mails are settled sooner: what is not settled would be repeated after a crash."""
NO_ADDRESS = "neither the inventory nor the fact knows an address of this person"

log = logger("notifier")


async def send_due(
    context: Context, mailer: Mailer, *, settings: NotifierSettings, most: int = AT_ONCE
) -> list[Outcome]:
    """Send mails that are due, the oldest first; what became of each that was tried.

    What there is no time for, or what would only meet a server that is away, is given back.
    """
    now = context.clock.now()
    lease = now + settings.mail_lease
    async with context.unit_of_work() as work:
        claimed = await deliveries.claim(work.conn, now=now, leased_until=lease, most=most)
    tried: list[tuple[Settled, Outcome]] = []
    for number, delivery in enumerate(claimed):
        spent = context.clock.now() - now
        if number and spent > min(TOGETHER_WITHIN, settings.mail_lease - settings.mail_send_within):
            break
        address = _address(context, delivery)
        outcome = await _send(context, mailer, delivery, address, settings)
        tried.append((_settled(context, delivery, outcome, address, settings), outcome))
        if isinstance(outcome, Deferred) and outcome.server:
            break
    if claimed:
        await _save(context, tried, claimed[len(tried) :])
    return [outcome for _, outcome in tried]


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
        thread_id=thread_id(delivery.thread, domain=settings.message_domain),
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


def _settled(
    context: Context, delivery: Delivery, outcome: Outcome, address: str | None, settings: NotifierSettings
) -> Settled:
    patience = Patience(settings.mail_first_delay, settings.mail_longest_delay)
    return settle(delivery, outcome, patience=patience, address=address, now=context.clock.now())


async def _save(
    context: Context, tried: Sequence[tuple[Settled, Outcome]], untried: Sequence[Delivery]
) -> None:
    """All in one transaction. Where we were slower than our lease the other sender's record stands."""
    async with context.unit_of_work() as work:
        lost = await deliveries.save(work, [settled for settled, _ in tried], origin=context.origin())
        await deliveries.give_back(work.conn, untried)
    for settled, outcome in tried:
        if settled in lost:
            log.warning("delivery settled by another sender", **_ids(context, settled.delivery))
        else:
            _log(context, settled.delivery, outcome)


def _ids(context: Context, delivery: Delivery) -> dict[str, str | None]:
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
