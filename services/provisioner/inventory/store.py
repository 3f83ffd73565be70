"""What the inventory asks of the document table beyond shared/documents.py."""

from shared.db import Conn


async def take_turns(conn: Conn) -> None:
    """Let one writer of documents at a time compare and write; held to the end of the transaction."""
    await conn.execute("SELECT 1 FROM document_counter FOR UPDATE")


async def removed_keys(conn: Conn, kinds: list[str]) -> frozenset[str]:
    """Keys of documents that were deleted; shared/documents.py refuses to bring them back."""
    rows = await conn.fetch("SELECT kind, id FROM document WHERE deleted AND kind = ANY($1)", kinds)
    return frozenset(f"{row['kind']}/{row['id']}" for row in rows)
