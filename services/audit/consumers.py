"""Every fact of every service goes into the log. Types this release does not know are skipped, counted."""

from datetime import datetime
from functools import partial
from typing import Any

from services.audit import commands
from services.audit.domain.mapping import Product
from shared.context import Context
from shared.contracts.topics import ACCESS, APPROVAL, NOTIFICATION, TICKET
from shared.database.pool import Conn
from shared.messaging.consumer import Subscription
from shared.messaging.envelope import Received


def subscriptions(context: Context, product: Product) -> list[Subscription]:
    keep = partial(commands.keep, context, product=product)
    return [
        Subscription(topic, handlers={}, otherwise=keep, claim=leave_to_the_log)
        for topic in (TICKET, APPROVAL, ACCESS, NOTIFICATION)
    ]


async def leave_to_the_log(_conn: Conn, _received: Received[Any], *, now: datetime) -> bool:  # noqa: ARG001
    """Yes to all: the log itself knows every fact it ever took, and is the inbox here."""
    return True
