"""Which facts the notifier listens to: the table of notices, topic by topic, and how they are heard."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from services.notifier.commands.notices import hear_of_access_or_review, hear_of_ticket
from services.notifier.domain.notice import TABLE
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.contracts import topics
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewFact
from shared.contracts.event import Event
from shared.contracts.ticket import TicketFact
from shared.messaging.consumer import Handler, Subscription
from shared.messaging.envelope import Received

_Command = Callable[[Received[Any]], Awaitable[None]]


def subscriptions(context: Context, settings: NotifierSettings, nudge: asyncio.Event) -> list[Subscription]:
    """Every ticket fact of the table teaches the ticket, whether or not it makes mail."""
    ticket = _then(nudge, partial(hear_of_ticket, context, settings))
    other = _then(nudge, partial(hear_of_access_or_review, context, settings))
    return [
        Subscription(topics.TICKET, _table(TicketFact, ticket)),
        Subscription(topics.APPROVAL, _table(ReviewFact, other)),
        Subscription(topics.ACCESS, _table(AccessFact, other)),
    ]


def _table(family: type[Event], handler: Handler) -> dict[type[Event], Handler]:
    return {event: handler for event in TABLE if issubclass(event, family)}


def _then(nudge: asyncio.Event, command: _Command) -> Handler:
    """Wake the senders once the command has committed."""

    async def handle(received: Received[Any]) -> None:
        await command(received)
        nudge.set()

    return handle
