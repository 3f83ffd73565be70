"""Every fact of every service goes into the log. Types this release does not know are skipped, counted."""

from functools import partial
from typing import Final

from services.audit import commands
from services.audit.domain.mapping import Product
from shared.context import Context
from shared.contracts.topics import ACCESS, APPROVAL, NOTIFICATION, STOP, TICKET
from shared.messaging.subscription import Subscription

LINGER_S: Final = 0.2
"""The log is read later; its records are many, and cheap only together."""


def subscriptions(context: Context, product: Product) -> list[Subscription]:
    keep = partial(commands.keep, context, product=product)
    return [
        # The log itself knows every fact it ever took.
        Subscription(topic, handlers={}, otherwise=keep, own_inbox=True, linger_s=LINGER_S)
        for topic in (TICKET, STOP, APPROVAL, ACCESS, NOTIFICATION)
    ]
