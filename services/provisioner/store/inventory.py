"""What the inventory asks of the document table beyond shared/documents/document_store.py."""

from services.provisioner.domain.claims import SERVICE
from shared.contracts.configuration import InventoryConfirmed
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox


async def take_turns(conn: Conn) -> None:
    """Let one writer of documents at a time compare and write; held to the end of the transaction."""
    await conn.execute("SELECT 1 FROM document_counter FOR UPDATE")


def note_confirmed(work: UnitOfWork, fact: InventoryConfirmed) -> None:
    """Publish that somebody looked at a mass disappearance and confirmed it; no row keeps it."""
    outbox.append(work, SERVICE, fact)
