"""Reviews follow their ticket: one opens per pending target, and a stop voids it.

Called by consumers.py. Deciding is in decisions.py; following the approval rules in refresh.py.
"""

from collections.abc import Mapping
from typing import Final

from services.approval.domain import eligibility
from services.approval.domain.lifecycle import open_review, void
from services.approval.domain.review import Reviewed
from services.approval.store import background, reviews
from shared.context import Context
from shared.contracts.change import Change, Origin
from shared.contracts.ticket import (
    TargetState,
    TicketClosed,
    TicketFact,
    TicketRejected,
    TicketReturned,
    TicketSubmitted,
    TicketTerminated,
    TicketTimedOut,
    TicketWithdrawn,
)
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.messaging.envelope import Received
from shared.policy.snapshot import Snapshot

STOPS: Final[Mapping[type[TicketFact], str]] = {
    TicketWithdrawn: "the ticket was withdrawn",
    TicketTerminated: "the ticket was terminated",
    TicketReturned: "the access was returned",
    TicketTimedOut: "the request timed out",
    TicketRejected: "the request was rejected",
    TicketClosed: "the ticket is closed",
}
"""Facts after which the targets they name need no review, and how the void says it."""


async def open_reviews(context: Context, work: UnitOfWork, received: Received[TicketSubmitted]) -> None:
    """Open a review for each pending target that was neither stopped nor reviewed in this revision yet.

    Raises NotReady, to be tried again, until the documents here are at least those of the submit.
    """
    fact = received.event
    origin = Origin(context.actor, context.clock.now(), received.id)
    await reviews.lock_ticket(work.conn, fact.ticket.id, version=fact.ticket.version)
    for target in fact.targets:
        if target.state is not TargetState.PENDING or await reviews.is_settled(work.conn, target):
            continue
        snapshot = context.policy.snapshot(fact.ticket.revisions)
        reviewed = Reviewed.of(fact.ticket, target)
        await begin_review(work, snapshot, reviewed, ticket_version=fact.ticket.version, origin=origin)


async def begin_review(
    work: UnitOfWork, snapshot: Snapshot, reviewed: Reviewed, *, ticket_version: int, origin: Origin
) -> None:
    """Open one review on the documents as they are now. Needs the ticket's lock."""
    choice = eligibility.rules_now(snapshot, reviewed)
    change = open_review(
        reviewed,
        choice,
        eligibility.electorate_of(snapshot, choice.stages, reviewed, origin.at),
        await background.load(work.conn, reviewed, now=origin.at),
        review_id=new_id(),
        ticket_version=ticket_version,
        revisions=snapshot.revisions,
        origin=origin,
    )
    await reviews.add(work, change)


async def void_reviews(
    context: Context, work: UnitOfWork, received: Received[TicketFact], *, why: str
) -> None:
    """Void the open reviews of the targets that a stop is about, and of those it stops before they open.

    Needs no policy and no order: a stop is applied whenever it comes.
    """
    fact = received.event
    origin = Origin(context.actor, context.clock.now(), received.id, why)
    await reviews.lock_ticket(work.conn, fact.ticket.id, version=fact.ticket.version)
    for target in fact.targets:
        await reviews.add_stop(work.conn, fact, target, why=why)
        for review in await reviews.open_reviews_of(work.conn, target):
            await reviews.save(work, review, void(Change(review), origin))
    await background.drop_live_grants(work.conn, fact.grants)
