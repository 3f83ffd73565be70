"""Stores what was read of AWS, and publishes what is different in the directory that it makes as documents.

What is not believed to be gone stays until a person confirms it or a later reading agrees. No AWS is called.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from services.provisioner.domain.inventory import (
    GUARD,
    KINDS,
    Guard,
    Weighed,
    believed,
    confirm,
    hold_id,
    weigh,
)
from services.provisioner.domain.readings import Directory, Part, PartKey, directory_of
from services.provisioner.store import inventory as store
from shared.context import Context
from shared.contracts.change import Alert, Origin
from shared.contracts.documents import Binding, Document
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.foundation.errors import Conflict, NotFound
from shared.observability.logs import logger

log = logger("inventory")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one reading came to."""

    changed: tuple[Document, ...] = ()
    """New or different, as stored now."""
    removed: tuple[Document, ...] = ()
    """What is left of them."""
    held: str | None = None
    """Why not all was taken over that AWS says; an operator confirms or repairs."""
    hold: str | None = None
    """Names what is held, for the confirmation."""


async def keep_part(work: UnitOfWork, part: Part) -> None:
    """What was read is not read again after a kill."""
    await store.keep_part(work, part)


async def forget_parts(work: UnitOfWork, keys: Collection[PartKey]) -> None:
    """Of what AWS does not have any more."""
    await store.forget_parts(work, keys)


async def store_inventory(
    context: Context, work: UnitOfWork, directory: Directory, *, guard: Guard = GUARD
) -> SyncResult:
    """Write what is different from the stored inventory and believed; the rest waits, with an alert.

    Nothing before the members of all groups were read once: who is in none is denied nothing.
    """
    await store.take_turns(work.conn)
    stored = await stored_documents(work.conn)
    if not stored and not directory.people_whole:
        return SyncResult()
    known = believed(await store.missing(work.conn), directory.read_at, after=guard.agree_after)
    # In a thread: of tens of thousands of documents it would hold revokes up for some hundred milliseconds.
    weighed = await asyncio.to_thread(weigh, stored, directory, share=guard.share, believed=known)
    await store.note_missing(work, weighed.held, at=context.clock.now())
    _report(work, directory, weighed)
    result = await _write(context, work, weighed, guard)
    work.after_commit(partial(_announce, context, result))
    return result


async def confirm_hold(
    context: Context, work: UnitOfWork, hold: str, origin: Origin, *, guard: Guard = GUARD
) -> SyncResult:
    """Take over what is held: somebody has looked. Only what they have seen, named by `hold`.

    Works on what was read last, on any replica, without asking AWS.
    """
    await store.take_turns(work.conn)
    held = [one.key for one in await store.missing(work.conn)]
    directory = directory_of(await store.parts(work.conn))
    if not held or directory is None:
        raise NotFound("nothing of the inventory is held", code="nothing_held")
    if hold_id(held) != hold:
        raise Conflict(
            "what is held has changed since: look at it again with GET /v1/inventory", code="hold_changed"
        )
    weighed = weigh(await stored_documents(work.conn), directory, share=guard.share, believed=held)
    why = ", ".join(part for part in (f"{len(held)} disappeared at once", origin.why) if part)
    store.note_confirmed(work, confirm(weighed.difference, why, origin))
    await store.confirm_missing(work)
    return await store_inventory(context, work, directory, guard=guard)


async def directory_read_at(conn: Conn, *, guard: Guard = GUARD) -> datetime | None:
    """Since when what is published of the directory is known to be true; for the markers."""
    return await store.read_at(conn, details_within=guard.details_within)


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


async def _write(context: Context, work: UnitOfWork, weighed: Weighed, guard: Guard) -> SyncResult:
    hold = hold_id(weighed.held) if weighed.held else None
    after = list(weighed.difference.changed)
    gone = [document.tombstone() for document in weighed.difference.removed]
    if not after and not gone:
        return SyncResult(held=weighed.why, hold=hold)
    now = context.clock.now()
    written = await document_store.put(work, context.service, *after, *gone, at=now)
    # Nobody may rely on a directory before a marker says it is complete; the next in turn is 10 s away.
    read_at = await directory_read_at(work.conn, guard=guard)
    await document_store.publish_marker(work, context.service, at=now, read_at=read_at)
    return SyncResult(tuple(written[: len(after)]), tuple(written[len(after) :]), weighed.why, hold)


def _report(work: UnitOfWork, directory: Directory, weighed: Weighed) -> None:
    if weighed.why is not None:
        work.alert(_held_alert(weighed))
        work.after_commit(partial(log.error, "inventory held", reason=weighed.why))
    else:
        work.clear("inventory_held")
    if directory.left_out:
        work.alert(_left_out_alert(directory))
    else:
        work.clear("inventory_left_out")


def _announce(context: Context, result: SyncResult) -> None:
    """Known here at once, not only when the broker brings it back."""
    context.policy.take(context.service, *result.changed, *result.removed)
    log.info("inventory synced", changed=len(result.changed), removed=len(result.removed))


def _held_alert(weighed: Weighed) -> Alert:
    return Alert(
        key="inventory_held",
        summary="provisioner: a part of the inventory is held, too much disappeared from AWS",
        detail=f"{weighed.why}; what gives rights or is gone waits until an administrator confirms hold "
        f"{hold_id(weighed.held)}, a later reading agrees, or they are back. What takes rights away is "
        "taken over. See GET /v1/inventory",
        once=False,
    )


def _left_out_alert(directory: Directory) -> Alert:
    some = "; ".join(f"{key}: {why}" for key, why in sorted(directory.left_out.items())[:5])
    return Alert(
        key="inventory_left_out",
        summary=f"provisioner: {len(directory.left_out)} row(s) of AWS's lists cannot be read",
        detail=f"{some}. They are left out; of what was known before the copy stays",
        once=False,
    )
