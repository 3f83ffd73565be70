"""Which facts of others the provisioner acts on: intents and stops from ticket, the witness from approval.

A review that is voided after it approved does not end access: ending is said by ticket, as a stop.
"""

from collections.abc import Callable
from functools import partial

from services.provisioner.commands.intents import take_approval, take_witness
from services.provisioner.commands.stops import CAUSES, take_stop
from shared.context import Context
from shared.contracts import topics
from shared.contracts.approval import ReviewApproved
from shared.contracts.event import Event
from shared.contracts.ticket import TicketApproved
from shared.messaging.consumer import Handler, Subscription


def subscriptions(context: Context, nudge: Callable[[], None]) -> list[Subscription]:
    """`nudge` tells the expiry producer and the engine of this process that claims have changed."""
    intents: dict[type[Event], Handler] = {TicketApproved: partial(take_approval, context, nudge)}
    stops: dict[type[Event], Handler] = {cls: partial(take_stop, context, nudge) for cls in CAUSES}
    return [
        Subscription(topics.TICKET, {**intents, **stops}),
        Subscription(topics.APPROVAL, {ReviewApproved: partial(take_witness, context, nudge)}),
    ]
