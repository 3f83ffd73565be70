"""Asking for a later end of access that lasts; decided on like a new request for the whole time."""

from services.ticket.commands.tickets import visible
from services.ticket.domain import extension_request, submission
from services.ticket.domain.extension_request import LaterEnd
from services.ticket.domain.window import Limits
from services.ticket.store import tickets as store
from shared.context import Context
from shared.contracts.ticket import Ticket
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.http.access import Caller


async def request_extension(
    context: Context, work: UnitOfWork, caller: Caller, ticket_id: str, asked: LaterEnd, limits: Limits
) -> Ticket:
    """A later end that waits for its review, or all the problems at once."""
    snapshot, origin = context.policy.snapshot(purpose="write"), caller.origin(context.clock.now())
    ticket = visible(context, caller, ticket_id, await store.load(work, ticket_id))
    found = extension_request.lasting(ticket, asked.target_id, caller.user_id, now=origin.at)
    plan = extension_request.plan_extension(
        ticket, found, asked, caller.user, snapshot, now=origin.at, limits=limits
    )
    submission.require_acceptable(plan)
    change = extension_request.request(
        ticket, found, plan, asked, extension_id=new_id(), revisions=snapshot.revisions, origin=origin
    )
    await store.save(work, ticket, change)
    return change.state
