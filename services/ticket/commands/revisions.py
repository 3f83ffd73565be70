"""Asking again for what a ticket named and did not get: decided by the same plan as a new request."""

from services.ticket.commands.tickets import visible
from services.ticket.domain import revision, submission
from services.ticket.domain.plan import make_plan
from services.ticket.domain.revision import AskedAgain, RevisionIds
from services.ticket.domain.window import Limits
from services.ticket.store import tickets as store
from shared.context import Context
from shared.contracts.ticket import Ticket
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.http.access import Caller


async def revise(
    context: Context, work: UnitOfWork, caller: Caller, ticket_id: str, again: AskedAgain, limits: Limits
) -> Ticket:
    """Rejected and timed-out targets in their next revision, or all the problems at once."""
    snapshot, origin = context.policy.snapshot(purpose="write"), caller.origin(context.clock.now())
    ticket = visible(context, caller, ticket_id, await store.load(work, ticket_id))
    targets = revision.revisable(ticket, again, caller.user_id)
    draft = revision.draft_of(ticket, targets, again, caller.user)
    plan = make_plan(draft, snapshot, now=origin.at, limits=limits)
    submission.require_acceptable(plan)
    ids = RevisionIds(
        subjects=tuple(new_id() for _ in targets),
        grants=tuple(new_id() for target in targets for _ in ticket.grants_of(target.id)),
    )
    change = revision.revise(
        ticket, targets, plan, ids=ids, revisions=snapshot.revisions, limits=limits, origin=origin
    )
    await store.save(work, ticket, change)
    return change.state
