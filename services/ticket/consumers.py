"""What the ticket service listens to. It alone orders a ticket's lifecycle; the others report to it."""

from functools import partial

from services.ticket.commands import grants, reviews
from services.ticket.store import tickets
from shared.context import Context
from shared.contracts import access, topics
from shared.contracts.approval import ReviewApproved, ReviewRejected
from shared.messaging.subscription import Subscription


def subscriptions(context: Context) -> list[Subscription]:
    note_access = partial(grants.note_access, context)
    return [
        Subscription(
            topics.APPROVAL,
            {
                ReviewApproved: partial(reviews.approve, context),
                ReviewRejected: partial(reviews.reject, context),
            },
            lock=tickets.lock,
            opens=(ReviewApproved,),
        ),
        Subscription(
            topics.ACCESS,
            {
                access.AccessScheduled: note_access,
                access.AccessGranting: note_access,
                access.AccessGranted: note_access,
                access.AccessFailed: note_access,
                access.AccessRevokeDue: note_access,
                access.AccessRevoked: note_access,
                access.AccessReleased: note_access,
                access.AccessExtended: note_access,
                access.AccessExtensionFailed: note_access,
            },
            lock=tickets.lock,
            linger_s=0.1,  # access is there or gone already: what is noted of it shares a transaction
        ),
    ]
