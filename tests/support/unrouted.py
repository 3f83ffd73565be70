"""Commands of the ticket service that have no route yet, called on the running service in its own process."""

from datetime import datetime, timedelta

from services.ticket.commands.extensions import request_extension
from services.ticket.commands.revisions import revise
from services.ticket.commands.tickets import limits_of
from services.ticket.domain.extension_request import LaterEnd
from services.ticket.domain.revision import AskedAgain
from services.ticket.domain.window import Limits
from services.ticket.settings import TicketSettings
from shared.context import Context
from shared.contracts.event import Actor
from shared.contracts.extension import Extension
from shared.contracts.ticket import Ticket
from shared.contracts.windows import WindowAsked
from shared.foundation.clock import new_id
from shared.http.access import Caller
from shared.identity.bindings import Principal
from tests.support.running import REASON, Running


async def ask_later_end(running: Running, who: str, ticket_id: str, ends_at: datetime) -> Extension:
    """Of the first target; the extension as it was asked for."""
    context = _ticket_service(running)
    ticket = Ticket.model_validate(await running.ticket(ticket_id))
    asked = LaterEnd(ticket.targets[0].id, ends_at, REASON)
    async with context.unit_of_work() as work:
        caller = _caller(running, who)
        changed = await request_extension(context, work, caller, ticket_id, asked, _limits(context))
    return changed.extensions[-1]


async def ask_again(running: Running, who: str, ticket_id: str, length: timedelta) -> Ticket:
    """A new revision of all that was rejected or timed out."""
    context = _ticket_service(running)
    again = AskedAgain(WindowAsked(duration=length), REASON)
    async with context.unit_of_work() as work:
        return await revise(context, work, _caller(running, who), ticket_id, again, _limits(context))


def _ticket_service(running: Running) -> Context:
    return next(one.context for one in running.stack.services if one.name == "ticket")


def _limits(context: Context) -> Limits:
    assert isinstance(context.settings, TicketSettings)
    return limits_of(context.settings)


def _caller(running: Running, name: str) -> Caller:
    user = _ticket_service(running).policy.known().user(running.user_id(name))
    assert user is not None, name
    return Caller(Principal(user, Actor(kind="person", name=name, user_id=user.id)), key=None, cause=new_id())
