"""Which facts of others the provisioner acts on: intents and stops from ticket, the witness from approval.

A review that is voided after it approved does not end access: ending is said by ticket, as a stop.
"""

from functools import partial

from services.provisioner.commands.approvals import lock_tickets, record_approval, record_witness
from services.provisioner.commands.extensions import record_extension
from services.provisioner.commands.stops import CAUSES, stop_grants
from services.provisioner.store import witnesses
from shared.context import Context
from shared.contracts import topics
from shared.contracts.approval import ReviewApproved
from shared.contracts.event import Event
from shared.contracts.ticket import TicketApproved, TicketExtensionApproved
from shared.messaging.subscription import Handler, Subscription


def subscriptions(context: Context) -> list[Subscription]:
    intents: dict[type[Event], Handler] = {
        TicketApproved: partial(record_approval, context),
        TicketExtensionApproved: partial(record_extension, context),
    }
    stops: dict[type[Event], Handler] = {cls: partial(stop_grants, context) for cls in CAUSES}
    witness: dict[type[Event], Handler] = {ReviewApproved: partial(record_witness, context)}
    return [
        Subscription(topics.STOP, stops, first=True, lock=witnesses.lock_tickets),
        Subscription(topics.TICKET, intents, lock=lock_tickets, opens=tuple(intents)),
        # A witness comes some 10 ms before the approval that it is for, which takes it along.
        Subscription(topics.APPROVAL, witness, lock=lock_tickets, opens=tuple(witness), linger_s=0.05),
    ]
