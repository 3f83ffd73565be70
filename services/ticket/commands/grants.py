"""What the provisioner reports about grants; the ticket follows."""

from services.ticket.domain import grants
from services.ticket.store import tickets as store
from shared.context import Context
from shared.contracts.access import AccessFact
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received


async def note_access(context: Context, work: UnitOfWork, received: Received[AccessFact]) -> None:
    """An access fact moves its grant forward, or its end; a later end still asked for may come to nothing."""
    ticket = await store.load(work, received.event.ticket_id)
    if ticket is not None:
        origin = context.origin(received, why=received.event.why)
        await store.save(work, ticket, grants.note_access(ticket, received.event, origin))
