"""Changing a configuration document: the document for every replica and the fact for the log, together.

One way for every kind; what a document may say is its declaration's (kind.py). A plan goes the same way as
far as it can without writing.
"""

import re
from dataclasses import dataclass
from typing import Any

from shared.configuration.kind import Kind, Situation
from shared.configuration.lines import lines
from shared.configuration.order import Direction
from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.configuration import ConfigurationFact
from shared.contracts.documents import Document
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.foundation.errors import Conflict, FieldError, Invalid, NotFound
from shared.http.access import Caller
from shared.http.conditions import Precondition, changed
from shared.messaging import outbox
from shared.policy.snapshot import Snapshot


@dataclass(frozen=True)
class Written:
    """A document as it is stored now, and whether it is new."""

    document: Document
    created: bool = False


@dataclass(frozen=True)
class DocumentPlan:
    """What a change would do, and what is against it. Nothing was written."""

    before: Document | None
    after: Document | None
    problems: tuple[FieldError, ...]
    lines: tuple[str, ...]
    order: Direction
    """Whatever all other documents are."""
    effect: Direction
    """Among the documents of now; the order, where it is not cheap to know better."""


async def put(
    context: Context,
    work: UnitOfWork,
    caller: Caller,
    kind: Kind[Any],
    document_id: str,
    body: Any,
    condition: Precondition,
) -> Written:
    """Create or replace; a document that says the same already stays as it is, without a fact."""
    situation = situation_of(context)
    document = kind.make(document_id, body, situation)
    if problems := kind.problems(document, situation):
        raise Invalid(
            f"{kind.phrase} cannot be like this: {'; '.join(one.detail for one in problems[:3])}",
            code=f"{kind.noun}_invalid",
            fields=problems,
        )
    before = await document_store.get(work.conn, kind.document, document_id)
    condition.check(document.key, before.revision if before else None)
    if before is not None and document.model_copy(update={"revision": before.revision}) == before:
        return Written(before)
    after = await _save(context, work, caller, kind, before, document)
    return Written(after, created=before is None)


async def remove(
    context: Context,
    work: UnitOfWork,
    caller: Caller,
    kind: Kind[Any],
    document_id: str,
    condition: Precondition,
) -> Document:
    """Take one document out for ever: its id is not used again, unless AWS made it."""
    before = await document_store.get(work.conn, kind.document, document_id)
    if before is None:
        raise not_there(kind, document_id)
    condition.check(before.key, before.revision)
    return await _save(context, work, caller, kind, before, before.tombstone())


async def plan(context: Context, kind: Kind[Any], document_id: str, body: Any | None) -> DocumentPlan:
    """What a `put` of this body would do, or without a body what a removal would."""
    situation = situation_of(context)
    async with context.pool.acquire() as conn:
        before = await document_store.get(conn, kind.document, document_id)
        used_up = await document_store.is_used_up(conn, kind.document, document_id)
    if body is None and before is None:
        raise not_there(kind, document_id)
    after = None if body is None else kind.make(document_id, body, situation)
    problems = [] if after is None else kind.problems(after, situation)
    if after is not None and not re.search(kind.id_pattern, document_id):
        problems.append(
            FieldError(kind.id_name, "wrong_form", "this id does not have the right form to be put")
        )
    if used_up:
        problems.append(FieldError(kind.id_name, "id_reused", document_store.ID_REUSED))
    return _planned(kind, before, after, problems, situation.snapshot)


def situation_of(context: Context) -> Situation:
    """What a document is judged in: the documents of now, refused ones or not, and the owner's settings."""
    return Situation(context.policy.snapshot(purpose="configure"), context.settings)


def not_there(kind: Kind[Any], document_id: str) -> NotFound:
    return NotFound(f"there is no {kind.noun.replace('_', ' ')} {document_id} here", code="document_unknown")


def _planned(
    kind: Kind[Any],
    before: Document | None,
    after: Document | None,
    problems: list[FieldError],
    snapshot: Snapshot,
) -> DocumentPlan:
    order = kind.order(before, after)
    effect = kind.effect(before, after, snapshot) or order
    return DocumentPlan(before, after, tuple(problems), tuple(lines(before, after, snapshot)), order, effect)


async def _save(
    context: Context,
    work: UnitOfWork,
    caller: Caller,
    kind: Kind[Any],
    before: Document | None,
    document: Document,
) -> Document:
    """Guarded a second time under the documents' lock: two administrators may have read the same."""
    origin = caller.origin(context.clock.now())
    expected = 0 if before is None else before.revision
    try:
        (stored,) = await document_store.put(work, context.service, document, at=origin.at, expected=expected)
    except Conflict as error:
        if error.code == "document_changed":
            raise changed(document.key) from error
        raise
    outbox.append(work, context.service, _fact(kind, before, stored, origin))
    return stored


def _fact(kind: Kind[Any], before: Document | None, after: Document, origin: Origin) -> ConfigurationFact:
    facts = kind.facts
    cls = facts.removed if after.deleted else facts.changed if before else facts.registered
    what = cls.TYPE.split(".")[1]
    return cls(
        **origin.because(f"{after.key} was {what}").fields(),
        subject=after.id,
        version=after.revision,
        document=after.key,
        name=getattr(before if after.deleted else after, "name", after.id),
        revision=after.revision,
        before=_body(before),
        after=None if after.deleted else _body(after),
    )


def _body(document: Document | None) -> dict[str, Any] | None:
    return None if document is None else document.model_dump(mode="json")
