"""Stores what the organisation was read to be, and publishes what is different as documents.

Nothing is published of a directory of which too much disappeared at once, unless a person confirms it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.provisioner.domain.inventory import (
    KINDS,
    Difference,
    compare,
    confirm,
    mass_disappearance,
)
from services.provisioner.store.inventory import note_confirmed, take_turns
from shared.context import Context
from shared.contracts.change import Alert, Origin
from shared.contracts.documents import Binding, Document
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.observability.logs import logger

VANISH_SHARE: Final = 0.05

log = logger("inventory")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one reading came to."""

    changed: tuple[Document, ...] = ()
    """New or different, as stored now."""
    removed: tuple[Document, ...] = ()
    """What is left of them."""
    held: str | None = None
    """Why nothing was written although AWS says otherwise; an operator confirms or repairs."""


async def store_inventory(
    context: Context,
    work: UnitOfWork,
    found: Sequence[Document],
    *,
    confirmed: Origin | None = None,
    vanish_share: float = VANISH_SHARE,
) -> SyncResult:
    """Write what is different from the stored inventory; a mass disappearance only if somebody confirmed it.

    `confirmed` says who and when; what they need not have confirmed is no fact.
    """
    await take_turns(work.conn)
    stored = await stored_documents(work.conn)
    difference = compare(stored, found)
    held = mass_disappearance(difference, stored, share=vanish_share)
    if held and confirmed is None:
        work.alert(_held_alert(held))
        work.after_commit(partial(log.error, "inventory held", reason=held))
        return SyncResult(held=held)
    if held and confirmed is not None:
        note_confirmed(work, confirm(difference, held, confirmed))
    result = await _write(context, work, difference)
    work.clear("inventory_held")
    work.after_commit(partial(_announce, context, result))
    return result


async def stored_documents(conn: Conn) -> list[Document]:
    """The inventory as this service last published it, live documents only."""
    return [document for cls in KINDS for document in await document_store.all_of(conn, cls)]


async def preload(context: Context) -> int:
    """Put this service's own inventory into the snapshot from its database; the number of documents.

    Administrators who stop access are then known while the broker is away. It makes nothing `ready`:
    what gives access waits for the other owners' documents all the same.
    """
    async with context.pool.acquire() as conn:
        found = await stored_documents(conn)
        bindings = await document_store.all_of(conn, Binding)
    context.policy.take(context.service, *found, *bindings)
    if found:
        context.policy.know_people()
    return len(found)


async def _write(context: Context, work: UnitOfWork, difference: Difference) -> SyncResult:
    after = list(difference.changed)
    gone = [document.tombstone() for document in difference.removed]
    if not after and not gone:
        return SyncResult()
    now = context.clock.now()
    written = await document_store.put(work, context.service, *after, *gone, at=now)
    # Nobody may rely on a directory before a marker says it is complete; the next in turn is 10 s away.
    await document_store.publish_marker(work, context.service, at=now)
    return SyncResult(tuple(written[: len(after)]), tuple(written[len(after) :]))


def _announce(context: Context, result: SyncResult) -> None:
    """Known here at once, not only when the broker brings it back."""
    context.policy.take(context.service, *result.changed, *result.removed)
    log.info("inventory synced", changed=len(result.changed), removed=len(result.removed))


def _held_alert(held: str) -> Alert:
    return Alert(
        key="inventory_held",
        summary="provisioner: the inventory is held, too much disappeared from AWS",
        detail=f"{held}; the old copy is kept until an operator confirms or they are back",
        once=False,
    )
