"""Which ticket fact leads to which command. Nothing is decided here."""

from functools import partial

from services.approval.commands.reviews import (
    ENDS,
    STOPS,
    open_extension_review,
    open_reviews,
    stop_reviews,
    void_extension_review,
    void_reviews,
)
from shared.context import Context
from shared.contracts import topics
from shared.contracts.event import Event
from shared.contracts.ticket import (
    TicketExtensionRejected,
    TicketExtensionRequested,
    TicketRevised,
    TicketSubmitted,
)
from shared.messaging.subscription import Handler, Subscription


def subscriptions(context: Context) -> list[Subscription]:
    asked: dict[type[Event], Handler] = {
        TicketSubmitted: partial(open_reviews, context),
        TicketRevised: partial(open_reviews, context),
        TicketExtensionRequested: partial(open_extension_review, context),
    }
    handlers: dict[type[Event], Handler] = {
        **asked,
        TicketExtensionRejected: partial(void_extension_review, context),
    }
    for end, why in ENDS.items():
        handlers[end] = partial(void_reviews, context, why=why)
    stops: dict[type[Event], Handler] = {
        stop: partial(stop_reviews, context, why=why) for stop, why in STOPS.items()
    }
    return [
        Subscription(topics.STOP, stops, first=True),
        Subscription(topics.TICKET, handlers, opens=tuple(asked)),
    ]
