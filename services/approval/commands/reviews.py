"""Reviews follow their ticket: one opens per pending target, and a stop voids it.

Called by consumers.py. Deciding is in decisions.py; following the approval rules in refresh.py.
"""

from collections.abc import Mapping
from typing import Final

from services.approval import store
from services.approval.domain import eligibility
from services.approval.domain.life import open_review, void
from services.approval.domain.review import Change, Origin, Reviewed, Weighing
from shared.context import Context
from shared.contracts.event import Revisions
from shared.contracts.ticket import (
    TargetState,
    Ticket,
    TicketClosed,
    TicketFact,
    TicketRejected,
    TicketReturned,
    TicketSubmitted,
    TicketTerminated,
    TicketTimedOut,
    TicketWithdrawn,
)
from shared.database.pool import Conn, transaction
from shared.foundation.clock import new_id
from shared.foundation.errors import NotReady
from shared.messaging import inbox, outbox
from shared.messaging.envelope import Received

MOST_WEIGHED: Final = 5
"""Other grants and earlier rejections that one fact tells of by name."""

STOPS: Final[Mapping[type[TicketFact], str]] = {
    TicketWithdrawn: "the ticket was withdrawn",
    TicketTerminated: "the ticket was terminated",
    TicketReturned: "the access was returned",
    TicketTimedOut: "the request timed out",
    TicketRejected: "the request was rejected",
    TicketClosed: "the ticket is closed",
}
"""Facts after which the targets they name need no review, and how the void says it."""


async def open_reviews(context: Context, received: Received[TicketSubmitted]) -> None:
    """Open a review for each pending target that was neither stopped nor reviewed in this revision yet.

    Raises NotReady, to be tried again, until the documents here are at least those of the submit.
    """
    ticket, fact = received.event.ticket, received.event
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=context.clock.now()):
            return
        await store.lock_ticket(conn, ticket.id, version=ticket.version)
        origin = Origin(context.actor, received.id, context.clock.now())
        concerned = _targets_of(fact)
        for target in ticket.targets:
            if target.id not in concerned or target.state is not TargetState.PENDING:
                continue
            if await store.is_settled(conn, target.id, revision=target.revision):
                continue
            require_documents(context, ticket.revisions)
            reviewed = Reviewed.of(ticket, target)
            await begin_review(context, conn, reviewed, ticket_version=ticket.version, origin=origin)


async def begin_review(
    context: Context, conn: Conn, reviewed: Reviewed, *, ticket_version: int, origin: Origin
) -> Change:
    """Open one review on the documents as they are now. Needs the ticket's lock."""
    choice = eligibility.rules_now(context.world, reviewed)
    change = open_review(
        reviewed,
        choice,
        eligibility.electorate_of(context.world, choice.stages, reviewed, origin.at),
        await weigh(conn, reviewed, origin),
        review_id=new_id(),
        ticket_version=ticket_version,
        revisions=context.world.revisions,
        origin=origin,
    )
    await store.save_new(conn, change)
    await outbox.append(conn, context.service, *change.facts)
    return change


async def weigh(conn: Conn, reviewed: Reviewed, origin: Origin) -> Weighing:
    """Counts, and a few of what was counted: how often says less than what and until when."""
    people = {person.user_id: person for person in reviewed.beneficiaries}
    target = reviewed.target
    same = {
        "requester": reviewed.requester.user_id,
        "account_id": target.account_id,
        "set_id": target.set_id,
    }
    return Weighing(
        other_grants=await store.count_other_grants(conn, people, target_id=target.id, now=origin.at),
        earlier_rejections=await store.count_rejections(conn, **same),
        grants=await store.some_other_grants(
            conn, people, target_id=target.id, now=origin.at, limit=MOST_WEIGHED
        ),
        rejections=await store.some_rejections(conn, **same, limit=MOST_WEIGHED),
    )


def require_documents(context: Context, wanted: Revisions) -> None:
    """Raise NotReady unless what is known here is complete and as new as an earlier decision's."""
    context.tables.require_ready()
    if not context.world.covers(wanted):
        raise NotReady(
            "policy and inventory are older here than where this was decided before; try again in a moment",
            code="tables_behind",
        )


async def void_reviews(context: Context, received: Received[TicketFact], *, why: str) -> None:
    """Void the open reviews of the targets that a stop names, and of those it stops before they open.

    Needs no policy and no order: a stop is applied whenever it comes.
    """
    fact = received.event
    async with transaction(context.pool) as conn:
        if not await inbox.first_time(conn, received, now=context.clock.now()):
            return
        await store.lock_ticket(conn, fact.ticket.id, version=fact.ticket.version)
        origin = Origin(context.actor, received.id, context.clock.now())
        concerned = _targets_of(fact)
        for target_id, revision in concerned.items():
            await store.note_stop(conn, fact, target_id, revision=revision, why=why)
            for review in await store.open_reviews_of(conn, target_id, revision=revision):
                change = void(Change(review), origin, why=why)
                await store.save(conn, review, change)
                await outbox.append(conn, context.service, *change.facts)
        await store.drop_live_grants(conn, grant_ids=fact.grant_ids, target_ids=list(concerned))


def _targets_of(fact: TicketFact) -> dict[str, int]:
    """What a fact is about, with revisions: its targets and those of its grants; all where it names none."""
    ticket: Ticket = fact.ticket
    named = {*fact.target_ids, *(one.target_id for one in ticket.grants if one.id in fact.grant_ids)}
    return {target.id: target.revision for target in ticket.targets if not named or target.id in named}
