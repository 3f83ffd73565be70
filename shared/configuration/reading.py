"""What is shown of configuration documents: from the owner's database, with what AWS says beside it."""

from heapq import nsmallest
from typing import Any

from shared.configuration.changes import not_there
from shared.configuration.kind import Kind
from shared.context import Context
from shared.documents import document_store
from shared.foundation.errors import Denied, Forbidden
from shared.http.access import Caller
from shared.http.pages import Page, cut


async def registered_page(context: Context, kind: Kind[Any], cursor: str | None, limit: int) -> Page[Any]:
    """Documents by id, behind the cursor."""
    snapshot = context.policy.snapshot()
    async with context.pool.acquire() as conn:
        found = await document_store.page(conn, kind.document, after=cursor, limit=limit + 1)
    return _page([kind.show(one.id, one, snapshot) for one in found], limit)


async def whole_page(
    context: Context, kind: Kind[Any], cursor: str | None, limit: int, *, caller: Caller
) -> Page[Any]:
    """Everything of AWS by id, registered or not, and what is registered although AWS has it no more."""
    if not _may_see_all(context, caller):
        raise Forbidden(
            "only administrators and auditors list what is not registered; leave registered=false out",
            code="not_permitted",
            denied=Denied("config.read", caller.user_id),
        )
    snapshot = context.policy.snapshot()
    ids = set(kind.inventory(snapshot) if kind.inventory else ())
    async with context.pool.acquire() as conn:
        registered = await document_store.page(conn, kind.document, after=cursor, limit=limit + 1)
        ids |= {one.id for one in registered}
        chosen = nsmallest(limit + 1, (one for one in ids if one > (cursor or "")))
        found = await document_store.some(conn, kind.document, chosen)
    return _page([kind.show(one, found.get(one), snapshot) for one in chosen], limit)


async def find(context: Context, kind: Kind[Any], document_id: str, caller: Caller) -> Any:
    """One document as it is shown; what is not registered only to those who may list it."""
    async with context.pool.acquire() as conn:
        found = await document_store.get(conn, kind.document, document_id)
    shown = kind.show(document_id, found, context.policy.snapshot())
    if shown is None or (found is None and not _may_see_all(context, caller)):
        raise not_there(kind, document_id)
    return shown


def _may_see_all(context: Context, caller: Caller) -> bool:
    """What is not registered tells of the whole organisation: it is for those who configure JIT."""
    snapshot = context.policy.snapshot()
    return snapshot.may(caller.user_id, "config.read", now=context.clock.now()).allowed


def _page(shown: list[Any], limit: int) -> Page[Any]:
    items, next_cursor = cut(shown, limit, lambda one: str(one.id))
    return Page(items=items, next_cursor=next_cursor)
