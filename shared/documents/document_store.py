"""Documents as their owner keeps them: stored, numbered and published in one transaction.

Each write raises the owner's counter under a row lock that is held to commit, so a marker written
later always stands behind every document it counts. Readers are in shared/documents/tables.py.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from shared.contracts.documents import DOCUMENTS, Document, Marker
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Conflict, NotFound
from shared.messaging import outbox

DocumentT = TypeVar("DocumentT", bound=Document)

ID_REUSED: Final = "its id cannot be used again; choose another id"


async def get(conn: Conn, cls: type[DocumentT], document_id: str) -> DocumentT | None:
    """A live document, or None where there is none or it was deleted."""
    body = await conn.fetchval(
        "SELECT body FROM document WHERE kind = $1 AND id = $2 AND NOT deleted", cls.KIND, document_id
    )
    return None if body is None else cls.model_validate(body)


async def put(
    work: UnitOfWork, service: str, *documents: DocumentT, at: datetime, expected: int | None = None
) -> list[DocumentT]:
    """Store new states and publish them; returns them with their revisions.

    `expected` guards an edit: the revision the caller read (0 where it expects none to be there).
    A deleted id of ours cannot come back; what AWS names may.
    """
    conn = work.conn
    counter = await conn.fetchrow("SELECT revision, count, digest FROM document_counter FOR UPDATE")
    assert counter is not None, "document_counter has its one row from migration 0001"  # noqa: S101
    revision, count = counter["revision"], counter["count"]
    digest = int.from_bytes(counter["digest"], "big")
    stored = []
    for document in documents:
        before = await _load(conn, type(document), document.id)
        _check(before, document, expected)
        revision += 1
        after = document.model_copy(update={"revision": revision})
        digest ^= (before.fingerprint if before else 0) ^ after.fingerprint
        count += (not after.deleted) - (before is not None and not before.deleted)
        await _save(conn, after)
        outbox.append_document(work, service, after, at=at)
        stored.append(after)
    await conn.execute(
        "UPDATE document_counter SET revision = $1, count = $2, digest = $3",
        revision,
        count,
        digest.to_bytes(32, "big"),
    )
    return stored


async def publish_marker(work: UnitOfWork, service: str, *, at: datetime) -> Marker:
    """State what a complete copy looks like, in order with the documents."""
    counter = await work.conn.fetchrow("SELECT revision, count, digest FROM document_counter FOR UPDATE")
    assert counter is not None, "document_counter has its one row from migration 0001"  # noqa: S101
    marker = Marker(
        owner=service,
        revision=counter["revision"],
        count=counter["count"],
        digest=counter["digest"].hex(),
        at=at,
    )
    outbox.append_marker(work, service, marker)
    return marker


async def republish(work: UnitOfWork, service: str, *, at: datetime) -> int:
    """Publish every document again as it is, deleted ones too; at start and on demand.

    A reader that knows a document's revision ignores the repetition.
    """
    await work.conn.execute("SELECT 1 FROM document_counter FOR UPDATE")
    rows = await work.conn.fetch("SELECT kind, body FROM document ORDER BY revision")
    for row in rows:
        outbox.append_document(work, service, DOCUMENTS[row["kind"]].model_validate(row["body"]), at=at)
    return len(rows)


async def page(conn: Conn, cls: type[DocumentT], *, after: str | None, limit: int) -> Sequence[DocumentT]:
    """Live documents of a kind by id, in the order of code points, those behind `after`."""
    rows = await conn.fetch(
        """
        SELECT body FROM document WHERE kind = $1 AND NOT deleted AND id COLLATE "C" > $2
        ORDER BY id COLLATE "C" LIMIT $3
        """,
        cls.KIND,
        after or "",
        limit,
    )
    return [cls.model_validate(row["body"]) for row in rows]


async def some(conn: Conn, cls: type[DocumentT], ids: Sequence[str]) -> dict[str, DocumentT]:
    """Those live documents of a kind that are there, by id."""
    rows = await conn.fetch(
        "SELECT body FROM document WHERE kind = $1 AND NOT deleted AND id = ANY($2)", cls.KIND, list(ids)
    )
    found = [cls.model_validate(row["body"]) for row in rows]
    return {document.id: document for document in found}


async def is_used_up(conn: Conn, cls: type[Document], document_id: str) -> bool:
    """Whether the id was removed once and, being of our own making, cannot come back."""
    before = await _load(conn, cls, document_id)
    return before is not None and before.deleted and not cls.AWS_ID


async def all_of(conn: Conn, cls: type[DocumentT]) -> Sequence[DocumentT]:
    """All live documents of a kind, by id."""
    rows = await conn.fetch("SELECT body FROM document WHERE kind = $1 AND NOT deleted ORDER BY id", cls.KIND)
    return [cls.model_validate(row["body"]) for row in rows]


async def _load(conn: Conn, cls: type[DocumentT], document_id: str) -> DocumentT | None:
    body = await conn.fetchval("SELECT body FROM document WHERE kind = $1 AND id = $2", cls.KIND, document_id)
    return None if body is None else cls.model_validate(body)


def _check(before: Document | None, after: Document, expected: int | None) -> None:
    if before is not None and before.deleted and not after.deleted and not after.AWS_ID:
        raise Conflict(f"{after.key} was removed; {ID_REUSED}", code="id_reused")
    if after.deleted and (before is None or before.deleted):
        raise NotFound(f"{after.key} is not there", code="document_unknown")
    if expected is None:
        return
    found = before.revision if before is not None and not before.deleted else 0
    if found != expected:
        raise Conflict(
            f"{after.key} is at revision {found}, not {expected}: read it again and repeat the change",
            code="document_changed",
        )


async def _save(conn: Conn, document: Document) -> None:
    await conn.execute(
        """
        INSERT INTO document (kind, id, revision, deleted, body) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (kind, id) DO UPDATE
        SET revision = excluded.revision, deleted = excluded.deleted, body = excluded.body
        """,
        document.kind,
        document.id,
        document.revision,
        document.deleted,
        document.model_dump(mode="json"),
    )
