"""Changing a configuration document: the document for every replica and the fact for the log, together.

The owner's service decides what a document may say, before it comes here; ticket does so for the
catalogue, approval for rules.
"""

from dataclasses import dataclass
from typing import Any

from shared.context import Context
from shared.contracts.configuration import ConfigurationFact
from shared.contracts.documents import COUNTERS, Document
from shared.database.pool import Conn, transaction
from shared.documents import document_store
from shared.foundation.errors import Conflict, NotFound
from shared.http.access import Caller, format_revision
from shared.http.conditions import Precondition, changed
from shared.http.idempotency import Answer
from shared.http.web import etag
from shared.messaging import outbox


@dataclass(frozen=True)
class Told:
    """The facts that tell of one kind of document."""

    registered: type[ConfigurationFact]
    changed: type[ConfigurationFact]
    removed: type[ConfigurationFact]


async def put(
    context: Context, caller: Caller, document: Document, condition: Precondition, *, told: Told, name: str
) -> Answer:
    """Create or replace; a document that says the same already stays as it is, without a fact."""
    async with transaction(context.pool) as conn:
        before = await document_store.get(conn, type(document), document.id)
        condition.check(document.key, before.revision if before else None)
        if before is not None and document.model_copy(update={"revision": before.revision}) == before:
            return _answer(context, before, status=200)
        after = await _store(conn, context, document, before)
        cls = told.changed if before else told.registered
        await _tell(conn, context, caller, cls, before=before, after=after, name=name)
        return _answer(context, after, status=200 if before else 201)


async def remove(
    context: Context,
    caller: Caller,
    cls: type[Document],
    document_id: str,
    condition: Precondition,
    *,
    told: Told,
) -> Answer:
    """Take one document out for ever: its id is not used again."""
    async with transaction(context.pool) as conn:
        before = await document_store.get(conn, cls, document_id)
        if before is None:
            raise NotFound(f"there is no {cls.KIND} {document_id}", code="document_unknown")
        condition.check(before.key, before.revision)
        gone = await _store(conn, context, before.model_copy(update={"deleted": True}), before)
        await _tell(conn, context, caller, told.removed, before=before, after=gone, name=before.id)
        return Answer(204, None, format_revision(**{COUNTERS[context.service]: gone.revision}))


async def _store(conn: Conn, context: Context, document: Document, before: Document | None) -> Document:
    """Guarded a second time under the documents' lock: two administrators may have read the same."""
    expected = 0 if before is None else before.revision
    try:
        (stored,) = await document_store.put(
            conn, context.service, document, at=context.clock.now(), expected=expected
        )
    except Conflict as error:
        if error.code == "document_changed":
            raise changed(document.key) from error
        raise
    return stored


async def _tell(
    conn: Conn,
    context: Context,
    caller: Caller,
    cls: type[ConfigurationFact],
    *,
    before: Document | None,
    after: Document,
    name: str,
) -> None:
    what = cls.TYPE.split(".")[1]
    fact = cls(
        subject=after.id,
        version=after.revision,
        actor=caller.actor,
        why=f"{after.key} was {what}",
        cause=caller.cause,
        at=context.clock.now(),
        document=after.key,
        name=name,
        revision=after.revision,
        before=_body(before),
        after=None if after.deleted else _body(after),
    )
    await outbox.append(conn, context.service, fact)


def _body(document: Document | None) -> dict[str, Any] | None:
    return None if document is None else document.model_dump(mode="json")


def _answer(context: Context, document: Document, *, status: int) -> Answer:
    revision = format_revision(**{COUNTERS[context.service]: document.revision})
    return Answer(status, document.model_dump(mode="json"), {"ETag": etag(document.revision), **revision})
