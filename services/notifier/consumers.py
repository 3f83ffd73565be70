"""Which facts the notifier listens to: the table of notices, topic by topic, and the command of each."""

from functools import partial
from typing import Final

from services.notifier.commands.notices import (
    handle_fact_about_person,
    handle_fact_by_ticket_id,
    handle_ticket_fact,
)
from services.notifier.domain.notice import TABLE
from services.notifier.settings import NotifierSettings
from services.notifier.store import notices
from shared.context import Context
from shared.contracts import topics
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewFact
from shared.contracts.event import Event
from shared.contracts.identity import IdentityFact
from shared.contracts.stop import StopFact
from shared.contracts.ticket import TicketFact
from shared.messaging.subscription import Handler, Subscription

LINGER_S: Final = 0.2
"""A mail is on its way for longer than that."""


def subscriptions(context: Context, settings: NotifierSettings) -> list[Subscription]:
    """Every ticket fact of the table brings its ticket, whether or not it is mailed."""
    ticket = partial(handle_ticket_fact, context, settings=settings)
    other = partial(handle_fact_by_ticket_id, context, settings=settings)
    person = partial(handle_fact_about_person, context, settings=settings)
    tables = {
        topics.TICKET: _table(TicketFact, ticket),
        topics.STOP: _table(StopFact, other),
        topics.APPROVAL: _table(ReviewFact, other),
        topics.ACCESS: _table(AccessFact, other) | _table(IdentityFact, person),
    }
    return [
        Subscription(topic, table, lock=notices.lock_tickets, linger_s=LINGER_S)
        for topic, table in tables.items()
    ]


def _table(family: type[Event], handler: Handler) -> dict[type[Event], Handler]:
    return {event: handler for event in TABLE if issubclass(event, family)}
