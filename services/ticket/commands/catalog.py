"""The catalogue: registered accounts and sets, set groups, access scopes. Documents with revisions.

Each change is a document for every replica and a fact for the audit log, in one transaction.
"""

from dataclasses import dataclass
from typing import Any

from services.ticket.commands.tickets import SERVICE
from shared import documents, outbox
from shared.access import Caller, format_revision
from shared.context import Context
from shared.contracts import configuration as facts
from shared.contracts.documents import AccessScope, Document, RegisteredAccount, RegisteredSet, SetGroup
from shared.db import Conn, transaction
from shared.errors import NotFound, PreconditionFailed, PreconditionRequired
from shared.idempotency import Answer
from shared.web import etag


@dataclass(frozen=True)
class Kind:
    """The facts that tell of one kind of document."""

    registered: type[facts.ConfigurationFact]
    changed: type[facts.ConfigurationFact]
    removed: type[facts.ConfigurationFact]


KINDS: dict[type[Document], Kind] = {
    RegisteredAccount: Kind(facts.AccountRegistered, facts.AccountChanged, facts.AccountRemoved),
    RegisteredSet: Kind(facts.SetRegistered, facts.SetChanged, facts.SetRemoved),
    SetGroup: Kind(facts.SetGroupRegistered, facts.SetGroupChanged, facts.SetGroupRemoved),
    AccessScope: Kind(facts.ScopeRegistered, facts.ScopeChanged, facts.ScopeRemoved),
}


async def put(
    context: Context, caller: Caller, document: Document, *, name: str, if_match: str | None
) -> Answer:
    """Create or replace one document. A replacement needs the ETag that was read."""
    async with transaction(context.pool) as conn:
        before = await documents.get(conn, type(document), document.id)
        _check_match(before, if_match)
        (stored,) = await documents.put(conn, SERVICE, document, at=context.clock.now())
        kind = KINDS[type(document)]
        fact = kind.changed if before else kind.registered
        await _tell(conn, context, caller, fact, before=before, after=stored, name=name)
    return _answer(stored, status=200 if before else 201)


async def remove(
    context: Context, caller: Caller, cls: type[Document], document_id: str, *, if_match: str | None
) -> Answer:
    """Take one document out for ever: its id is not used again."""
    async with transaction(context.pool) as conn:
        before = await documents.get(conn, cls, document_id)
        if before is None:
            raise NotFound(f"there is no {cls.KIND} {document_id}", code="document_unknown")
        _check_match(before, if_match)
        gone = before.model_copy(update={"deleted": True})
        (stored,) = await documents.put(conn, SERVICE, gone, at=context.clock.now())
        await _tell(
            conn,
            context,
            caller,
            KINDS[cls].removed,
            before=before,
            after=None,
            name=before.id,
            revision=stored.revision,
        )
    return Answer(204, None, format_revision(catalog=stored.revision))


def _check_match(before: Document | None, if_match: str | None) -> None:
    """`If-Match` guards what is there; creating needs none."""
    if before is None:
        if if_match not in {None, "*"}:
            raise PreconditionFailed("it is not there any more; read the list again", code="document_gone")
        return
    if if_match is None:
        raise PreconditionRequired(
            f'it exists: read it and send its ETag, If-Match: "{before.revision}"', code="if_match_missing"
        )
    if if_match not in {"*", etag(before.revision)}:
        raise PreconditionFailed(
            f"it is at revision {before.revision} now; read it again and repeat the change",
            code="document_changed",
        )


async def _tell(
    conn: Conn,
    context: Context,
    caller: Caller,
    cls: type[facts.ConfigurationFact],
    *,
    before: Document | None,
    after: Document | None,
    name: str,
    revision: int | None = None,
) -> None:
    document = after or before
    assert document is not None, "a change has a document before or after it"  # noqa: S101
    fact = cls(
        subject=document.id,
        version=revision or document.revision,
        actor=caller.actor,
        cause=caller.cause,
        at=context.clock.now(),
        document=document.key,
        name=name,
        revision=revision or document.revision,
        before=_body(before),
        after=_body(after),
    )
    await outbox.append(conn, SERVICE, fact)


def _body(document: Document | None) -> dict[str, Any] | None:
    return None if document is None else document.model_dump(mode="json")


def _answer(document: Document, *, status: int) -> Answer:
    headers = {"ETag": etag(document.revision), **format_revision(catalog=document.revision)}
    return Answer(status, document.model_dump(mode="json"), headers)
