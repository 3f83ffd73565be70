"""What the ticket service listens to. `ticket` alone orders a ticket's life; the others report to it."""

from functools import partial

from services.ticket.commands import facts
from shared.context import Context
from shared.contracts import access, topics
from shared.contracts.approval import ReviewApproved, ReviewRejected
from shared.messaging.consumer import Subscription


def subscriptions(context: Context) -> list[Subscription]:
    note = partial(facts.note_access, context)
    return [
        Subscription(
            topics.APPROVAL,
            {
                ReviewApproved: partial(facts.approve, context),
                ReviewRejected: partial(facts.reject, context),
            },
        ),
        Subscription(
            topics.ACCESS,
            {
                access.AccessScheduled: note,
                access.AccessGranting: note,
                access.AccessGranted: note,
                access.AccessFailed: note,
                access.AccessRevokeDue: note,
                access.AccessRevoked: note,
                access.AccessReleased: note,
            },
        ),
    ]
