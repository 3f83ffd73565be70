"""Reviews follow their ticket: one opens per pending target and extension, and a stop voids it.

Called by consumers.py. Deciding is in decisions.py; following the approval rules in refresh.py.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from services.approval.commands.stages import open_next_stage
from services.approval.domain import eligibility
from services.approval.domain.lifecycle import open_review, void
from services.approval.domain.stops import Stops
from services.approval.store import history, reviews, stops
from shared.context import Context
from shared.contracts.change import Change, Origin
from shared.contracts.extension import ExtensionState
from shared.contracts.stop import (
    StopFact,
    TicketReturned,
    TicketTerminated,
    TicketWithdrawn,
    remembered_until,
)
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import (
    TargetState,
    Ticket,
    TicketClosed,
    TicketExtensionRejected,
    TicketExtensionRequested,
    TicketFact,
    TicketRejected,
    TicketRevised,
    TicketSubmitted,
    TicketTimedOut,
)
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.messaging.envelope import Received
from shared.observability.logs import logger
from shared.policy.snapshot import Snapshot, is_to_come

STOPS: Final[Mapping[type[StopFact], str]] = {
    TicketWithdrawn: "the ticket was withdrawn",
    TicketTerminated: "the ticket was terminated",
    TicketReturned: "the access was returned",
}
"""Stops, and how the void says it."""
ENDS: Final[Mapping[type[TicketFact], str]] = {
    TicketTimedOut: "the request timed out",
    TicketRejected: "the request was rejected",
    TicketClosed: "the ticket is closed",
}
"""The other facts after which what they name needs no review, and how the void says it."""

log = logger("reviews")


async def open_reviews(
    context: Context, work: UnitOfWork, received: Received[TicketSubmitted] | Received[TicketRevised]
) -> None:
    """Open a review for each pending target that the fact names; those of earlier revisions are void."""
    ticket = received.event.ticket
    origin = context.origin(received)
    pending = [target for target in received.event.targets if target.state is TargetState.PENDING]
    await reviews.lock_ticket(work.conn, ticket.id, version=ticket.version)
    because = origin.because("the target was asked for again, in a new revision")
    await _void(work, ticket, Stops.superseded(pending), because)
    subjects = [ticket.subject_of(target) for target in pending]
    await _begin_reviews(context, work, received.event, subjects, origin)


async def open_extension_review(
    context: Context, work: UnitOfWork, received: Received[TicketExtensionRequested]
) -> None:
    """Open the review of an extension, unless what it extends was asked for anew since."""
    ticket, extension = received.event.ticket, received.event.extension
    subject = ticket.extension_subject(extension) if extension else None
    if subject is None or extension is None or extension.state is not ExtensionState.PENDING:
        return
    await reviews.lock_ticket(work.conn, ticket.id, version=ticket.version)
    await _begin_reviews(context, work, received.event, [subject], context.origin(received))


async def _begin_reviews(
    context: Context,
    work: UnitOfWork,
    fact: TicketFact,
    subjects: Collection[ApprovalSubject],
    origin: Origin,
) -> None:
    """Open a review for each subject that was neither stopped nor reviewed yet.

    Raises NotReady, to be tried again, until the documents here are fresh and at least those of the submit;
    a forged one may name any, so not for ever. One from a time to come is not opened, and times out.
    """
    ticket = fact.ticket
    if is_to_come(fact.at, now=origin.at):
        log.error("asked for at a time to come", ticket=ticket.id, at=str(fact.at))
        return
    stopped = await stops.load(work.conn, ticket.id)
    for subject in subjects:
        if stopped.cover(subject) or await reviews.is_reviewed(work.conn, subject):
            continue
        snapshot = context.policy.snapshot(ticket.revisions, decided_at=fact.at, purpose="write")
        await begin_review(work, snapshot, subject, ticket_version=ticket.version, origin=origin)


async def begin_review(
    work: UnitOfWork, snapshot: Snapshot, subject: ApprovalSubject, *, ticket_version: int, origin: Origin
) -> None:
    """Open one review on the documents as they are now. Needs the ticket's lock."""
    choice = eligibility.rules_now(snapshot, subject)
    electorate = eligibility.electorate_of(snapshot, choice.stages, subject, origin.at)
    begun = open_review(
        subject,
        choice,
        electorate,
        review_id=new_id(),
        ticket_version=ticket_version,
        revisions=snapshot.revisions,
        origin=origin,
    )
    await reviews.add(work, await open_next_stage(work, begun, electorate, origin))


async def stop_reviews(context: Context, work: UnitOfWork, received: Received[StopFact], *, why: str) -> None:
    """Void the open reviews of what a stop names, extensions of it too, and those it stops before they open.

    Needs no policy and no order: a stop is applied whenever it comes, and nothing is older because of it.
    """
    fact = received.event
    origin = context.origin(received, why=why)
    await reviews.lock_ticket(work.conn, fact.ticket_id)
    until = fact.remembered_until(origin.at)
    await _stop(work, fact.ticket_id, Stops.by(fact), origin, until=until)
    await history.drop_live_grants(work.conn, fact.grant_ids)


async def void_reviews(
    context: Context, work: UnitOfWork, received: Received[TicketFact], *, why: str
) -> None:
    """The same for what ended without a stop. Needs no policy and no order either."""
    fact = received.event
    origin = context.origin(received, why=why)
    await reviews.lock_ticket(work.conn, fact.ticket.id, version=fact.ticket.version)
    await _void(work, fact.ticket, Stops.decided(fact), origin)
    await history.drop_live_grants(work.conn, [grant.id for grant in fact.grants])


async def void_extension_review(
    context: Context, work: UnitOfWork, received: Received[TicketExtensionRejected]
) -> None:
    """Void the review of an extension that is over for the ticket; the access that it extends goes on."""
    fact = received.event
    why = f"the extension is over: {fact.code.replace('_', ' ')}"
    origin = context.origin(received, why=why)
    await reviews.lock_ticket(work.conn, fact.ticket.id, version=fact.ticket.version)
    await _void(work, fact.ticket, Stops(extensions=frozenset({fact.extension_id})), origin)


async def _void(work: UnitOfWork, ticket: Ticket, more: Stops, origin: Origin) -> None:
    await _stop(work, ticket.id, more, origin, until=remembered_until(ticket.last_end, origin.at))


async def _stop(work: UnitOfWork, ticket_id: str, more: Stops, origin: Origin, *, until: datetime) -> None:
    """Remember stops, and void what is open of all that was stopped. Needs the ticket's lock."""
    await stops.add(work.conn, ticket_id, more, why=origin.why, at=origin.at, until=until)
    stopped = await stops.load(work.conn, ticket_id)
    for review in await reviews.open_reviews_of(work.conn, ticket_id):
        if stopped.cover(review.subject):
            await reviews.save(work, review, void(Change(review), origin))
