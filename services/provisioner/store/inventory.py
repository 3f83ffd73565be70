"""What the inventory asks of the document table beyond shared/documents/document_store.py."""

from shared.database.pool import Conn


async def take_turns(conn: Conn) -> None:
    """Let one writer of documents at a time compare and write; held to the end of the transaction."""
    await conn.execute("SELECT 1 FROM document_counter FOR UPDATE")
