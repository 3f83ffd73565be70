"""Documents as their owner keeps them: stored, numbered and published in one transaction.

Each write raises the owner's counter under a row lock that is held to commit, so a marker written
later always stands behind every document it counts. Readers are in shared/documents/tables.py.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from shared.contracts.documents import DOCUMENTS, Document, DocumentHead, Marker, Tombstone, fingerprint
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Conflict, NotFound, NotReady
from shared.messaging import outbox

DocumentT = TypeVar("DocumentT", bound=Document)

ID_REUSED: Final = "its id cannot be used again; choose another id"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored under a key."""

    revision: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class _Counter:
    """The one row whose lock orders writers: the last revision, and what a complete copy looks like."""

    revision: int
    count: int
    digest: int
    topic_revision: int
    """What a start found on the topic, where that was ahead; else 0."""

    def after(self, before: _Known | None, document: Document) -> "_Counter":
        """With the document in the place of what was stored under its key."""
        was_live = before is not None and not before.deleted
        gone = fingerprint(document.key, before.revision) if before is not None and was_live else 0
        return _Counter(
            revision=document.revision,
            count=self.count + (not document.deleted) - was_live,
            digest=self.digest ^ gone ^ document.fingerprint,
            topic_revision=self.topic_revision,
        )


async def get(conn: Conn, cls: type[DocumentT], document_id: str) -> DocumentT | None:
    """A live document, or None where there is none or it was deleted."""
    body = await conn.fetchval(
        "SELECT body FROM document WHERE kind = $1 AND id = $2 AND NOT deleted", cls.KIND, document_id
    )
    return None if body is None else cls.model_validate(body)


async def put(
    work: UnitOfWork, service: str, *documents: Document, at: datetime, expected: int | None = None
) -> list[Document]:
    """Store new states and publish them, together; returns them with their revisions.

    Of a deleted document the tombstone is stored. `expected` guards an edit: the revision the caller read
    (0 where it expects none to be there). A deleted id of ours cannot come back; what AWS names may.
    """
    counter = await _lock_counter(work.conn)
    known = await _known(work.conn, documents)
    together_until = counter.revision + len(documents) if len(documents) > 1 else 0
    stored: dict[str, Document] = {}
    for document in documents:
        before = known.get(document.key)
        _check(before, document, expected)
        after = _numbered(document, counter.revision + 1)
        counter = counter.after(before, after)
        known[after.key] = _Known(after.revision, after.deleted)
        stored[after.key] = after
        published = after.model_copy(update={"together_until": together_until})
        outbox.append_document(work, service, published, at=at)
    await _save(work.conn, stored.values())
    await _save_counter(work.conn, counter)
    return list(stored.values())


async def publish_marker(
    work: UnitOfWork, service: str, *, at: datetime, read_at: datetime | None = None
) -> Marker:
    """State what a complete copy looks like, in order with the documents.

    `read_at` is since when they are known to say what is true in AWS, where they are read from there.
    """
    counter = await _lock_counter(work.conn)
    marker = Marker(
        owner=service,
        revision=counter.revision,
        count=counter.count,
        digest=f"{counter.digest:064x}",
        at=at,
        read_at=read_at,
    )
    outbox.append_marker(work, service, marker)
    return marker


async def note_topic(conn: Conn, revision: int) -> None:
    """A start found the topic ahead: nothing is written in any replica until the counter has passed that."""
    await conn.execute("UPDATE document_counter SET topic_revision = $1", revision)


async def revisions(conn: Conn) -> dict[str, int]:
    """Every key that was ever used, with its last revision; deleted ones too."""
    rows = await conn.fetch("SELECT kind, id, revision FROM document")
    return {f"{row['kind']}/{row['id']}": row["revision"] for row in rows}


async def republish(work: UnitOfWork, service: str, wanted: Collection[int], *, at: datetime) -> int:
    """Publish those of these revisions again that are still the last of their documents.

    The others were published by the write that followed. A reader that knows a revision ignores the
    repetition. Returns how many.
    """
    await _lock_counter(work.conn)
    rows = await work.conn.fetch(
        "SELECT kind, body FROM document WHERE revision = ANY($1) ORDER BY revision", list(wanted)
    )
    for row in rows:
        outbox.append_document(work, service, _as_stored(row["kind"], row["body"]), at=at)
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
    deleted: bool | None = await conn.fetchval(
        "SELECT deleted FROM document WHERE kind = $1 AND id = $2", cls.KIND, document_id
    )
    return bool(deleted) and not cls.AWS_ID


async def all_of(conn: Conn, cls: type[DocumentT]) -> Sequence[DocumentT]:
    """All live documents of a kind, by id."""
    rows = await conn.fetch("SELECT body FROM document WHERE kind = $1 AND NOT deleted ORDER BY id", cls.KIND)
    return [cls.model_validate(row["body"]) for row in rows]


async def _lock_counter(conn: Conn) -> _Counter:
    """Raises NotReady where the topic is ahead: readers would ignore what is published next."""
    row = await conn.fetchrow(
        "SELECT revision, count, digest, topic_revision FROM document_counter FOR UPDATE"
    )
    assert row is not None, "document_counter has its one row from migration 0001"  # noqa: S101
    if row["revision"] < row["topic_revision"]:
        raise NotReady(
            f"documents were published up to revision {row['topic_revision']}, and this database, which was "
            f"restored, is at {row['revision']}; an administrator has to mend that first",
            code="documents_behind",
        )
    digest = int.from_bytes(row["digest"], "big")
    return _Counter(row["revision"], row["count"], digest, row["topic_revision"])


async def _save_counter(conn: Conn, counter: _Counter) -> None:
    await conn.execute(
        "UPDATE document_counter SET revision = $1, count = $2, digest = $3",
        counter.revision,
        counter.count,
        counter.digest.to_bytes(32, "big"),
    )


async def _known(conn: Conn, documents: Sequence[Document]) -> dict[str, _Known]:
    rows = await conn.fetch(
        """
        SELECT d.kind, d.id, d.revision, d.deleted
        FROM unnest($1::text[], $2::text[]) AS asked (kind, id) JOIN document d USING (kind, id)
        """,
        [document.kind for document in documents],
        [document.id for document in documents],
    )
    return {f"{row['kind']}/{row['id']}": _Known(row["revision"], row["deleted"]) for row in rows}


def _check(before: _Known | None, after: Document, expected: int | None) -> None:
    if before is not None and before.deleted and not after.deleted and not after.contract.AWS_ID:
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


def _numbered(document: Document, revision: int) -> Document:
    numbered = document.model_copy(update={"revision": revision, "together_until": 0})
    return numbered.tombstone() if numbered.deleted else numbered


def _as_stored(kind: str, body: Mapping[str, object]) -> Document:
    head = DocumentHead.model_validate(body)
    return Tombstone.of_kind(kind, head) if head.deleted else DOCUMENTS[kind].model_validate(body)


async def _save(conn: Conn, documents: Collection[Document]) -> None:
    """In one statement, however many there are."""
    await conn.execute(
        """
        INSERT INTO document (kind, id, revision, deleted, body)
        SELECT kind, id, revision, deleted, body::jsonb
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::text[])
            AS given (kind, id, revision, deleted, body)
        ON CONFLICT (kind, id) DO UPDATE
        SET revision = excluded.revision, deleted = excluded.deleted, body = excluded.body
        """,
        [document.kind for document in documents],
        [document.id for document in documents],
        [document.revision for document in documents],
        [document.deleted for document in documents],
        [document.model_dump_json() for document in documents],
    )
