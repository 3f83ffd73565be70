"""Facts become mails: who is to be mailed is decided and stored here, in the consumer's unit of work.

Nothing is sent here; services/notifier/background/sending.py does, later.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial

from services.notifier.domain.delivery import message_id
from services.notifier.domain.known import KnownTicket, learn
from services.notifier.domain.notice import (
    Mailing,
    Notice,
    is_to_nobody_yet,
    known_for,
    mailing_of,
    more_may_follow,
    ticket_id_of,
)
from services.notifier.settings import NotifierSettings
from services.notifier.store import deliveries, notices
from services.notifier.store.deliveries import Gathering, NewMail
from shared.context import Context
from shared.contracts.event import Event
from shared.contracts.identity import IdentityFact
from shared.contracts.ticket import TicketFact
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.messaging.envelope import Received
from shared.observability.logs import logger

log = logger("notifier")


async def handle_ticket_fact(
    context: Context, work: UnitOfWork, received: Received[TicketFact], *, settings: NotifierSettings
) -> None:
    """Save what is known of the ticket by now; prepare the mails about the fact, and about what waited."""
    event, now = received.event, context.clock.now()
    await notices.lock_tickets(work, [event.ticket.id])
    before = notices.known_ticket(work, event.ticket.id)
    known = learn(before, event.ticket)
    if known != before:
        notices.save_ticket(work, known, now=now)
    if mailing := mailing_of(event, known.ticket):
        notice = Notice(new_id(), received.id, event, known)
        _prepare(context, work, notice, mailing, settings, is_new=True)
    _release_waiting(context, work, known, settings)


async def handle_fact_by_ticket_id(
    context: Context, work: UnitOfWork, received: Received[Event], *, settings: NotifierSettings
) -> None:
    """Prepare the mails about a fact that names its ticket by id only, or about a stop.

    A stop may bring its ticket, but has no place in the order of what is known: only its own mail is written
    from that. The topics are read independently, so a fact may come before its ticket, or before what of the
    ticket it is about. It is then put aside, not retried: a retry would block its partition, and with it
    every other ticket's mail, while the ticket's own topic is behind. `release_overdue` ends the wait.
    """
    event = received.event
    ticket_id = ticket_id_of(event)
    await notices.lock_tickets(work, [ticket_id])
    known = known_for(event, notices.known_ticket(work, ticket_id))
    notice = Notice(new_id(), received.id, event, known)
    mailing = mailing_of(event, notice.ticket)
    if known is None and (mailing or is_to_nobody_yet(event, notice.ticket)):
        notices.put_aside(work, ticket_id, notice, now=context.clock.now())
    elif known is not None and mailing:
        _prepare(context, work, notice, mailing, settings, is_new=True)


async def handle_fact_about_person(
    context: Context, work: UnitOfWork, received: Received[IdentityFact], *, settings: NotifierSettings
) -> None:
    """Prepare the mails about a fact of no ticket: each on its own, at once."""
    notice = Notice(new_id(), received.id, received.event, None)
    if mailing := mailing_of(received.event, None):
        _prepare(context, work, notice, mailing, settings, is_new=True)


async def release_overdue(context: Context, work: UnitOfWork, *, settings: NotifierSettings) -> int:
    """Prepare the mails about what has waited too long for its ticket; the number of facts."""
    before = context.clock.now() - settings.mail_hold
    overdue = await notices.take_overdue(work.conn, received_before=before)
    for notice in overdue:
        if mailing := mailing_of(notice.event, None):
            _prepare(context, work, notice, mailing, settings, is_new=False)
    return len(overdue)


def _release_waiting(
    context: Context, work: UnitOfWork, known: KnownTicket, settings: NotifierSettings
) -> None:
    """Prepare the mails about what has waited for the ticket, and for which enough of it is known now."""
    for waiting in notices.waiting_for(work, known.ticket.id):
        if enough := known_for(waiting.event, known):
            notice = replace(waiting, known=enough)
            is_kept = notices.release(work, known.ticket.id, notice)
            if mailing := mailing_of(notice.event, notice.ticket):
                _prepare(context, work, notice, mailing, settings, is_new=not is_kept)


def _prepare(
    context: Context,
    work: UnitOfWork,
    notice: Notice,
    mailing: Mailing,
    settings: NotifierSettings,
    *,
    is_new: bool,
) -> None:
    now = context.clock.now()
    mails = _new_mails(notice, mailing, settings, now)
    gathering = Gathering(notice, is_new, mailing.template, mails, now + settings.mail_give_up_after)
    deliveries.gather(work, gathering, longest=settings.mail_gather_longest, now=now)
    work.after_commit(context.nudge)
    work.after_commit(
        partial(
            log.info,
            "mail prepared",
            service=context.service,
            ticket=notice.ticket_id,
            template=mailing.template.value,
            cause=notice.event_id,
            to=[recipient.user_id for recipient in mailing.recipients],
        )
    )


def _new_mails(notice: Notice, mailing: Mailing, settings: NotifierSettings, now: datetime) -> list[NewMail]:
    """Due at once where nothing can be added, else after the time for gathering."""
    found = []
    for recipient in mailing.recipients:
        waits = more_may_follow(notice.event, notice.ticket, recipient.user_id)
        identity = message_id(
            notice.event_id, mailing.template, recipient.user_id, domain=settings.message_domain
        )
        due_at = now + settings.mail_gather if waits else now
        found.append(NewMail(new_id(), recipient, identity, due_at))
    return found
