"""What the provisioner reports about grants; the ticket follows."""

from services.ticket import store
from services.ticket.domain import grants
from shared.context import Context
from shared.contracts.access import AccessFact
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received


async def note_access(_context: Context, work: UnitOfWork, received: Received[AccessFact]) -> None:
    """An access fact moves its grant forward; nothing is published, the fact itself is the news."""
    ticket = await store.load(work.conn, received.event.ticket_id)
    if ticket is not None:
        await store.save(work, ticket, grants.note_access(ticket, received.event))
