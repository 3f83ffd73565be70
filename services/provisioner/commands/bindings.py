"""Whom tokens are: first sight, the conflicts that are found at it, and the rebinding of one."""

from collections.abc import Sequence
from functools import partial

from services.provisioner.domain.bindings import (
    Against,
    FoundConflict,
    Held,
    Known,
    Rebinding,
    Retired,
    Sighting,
    Unseen,
    bind,
    first_sight,
    note_conflict,
    rebind,
)
from services.provisioner.store import bindings
from services.provisioner.store.inventory import take_turns
from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.documents import Document
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import NotFound
from shared.http.access import Caller

Seen = Known | Retired | FoundConflict
"""What a token turned out to be."""


async def see(context: Context, work: UnitOfWork, seen: Sighting, origin: Origin) -> Seen:
    """Bind the subject at first sight, or keep the conflict; what is stored already is not written again.

    Of several first sights at once one writes, and the others then see it.
    """
    known = await _stored(work, seen)
    if known is not None:
        return known
    await take_turns(work.conn)
    found = first_sight(seen, await _held(work, seen))
    if isinstance(found, Unseen):
        documents = await bindings.save_bound(work, bind(seen, origin))
        work.after_commit(partial(_announce, context, documents))
        return Known()
    return await _keep(work, seen, found, origin) if isinstance(found, Against) else found


async def rebind_conflict(
    context: Context, work: UnitOfWork, caller: Caller, conflict_id: str, *, reason: str
) -> Rebinding:
    """Let a conflict's subject be its user; what stood against it is over for ever."""
    snapshot = context.policy.snapshot(purpose="configure")
    await take_turns(work.conn)
    found = await bindings.conflict(work.conn, conflict_id)
    if found is None:
        raise NotFound("there is no such conflict; see GET /v1/bindings/conflicts", code="conflict_unknown")
    pairs = await bindings.held(work.conn, iss=found.iss, sub=found.sub, user_id=found.user_id)
    named = found.named
    users = snapshot.find_user(named.lookup, named.value, issuer=named.external_id_issuer)
    change = rebind(found, pairs, users, caller.origin(context.clock.now(), reason))
    documents = await bindings.save_rebinding(work, change)
    work.after_commit(partial(_announce, context, documents))
    return change.state


async def _stored(work: UnitOfWork, seen: Sighting) -> Seen | None:
    """What needs no write, looked at without a lock; None where something is to be stored."""
    found = first_sight(seen, await _held(work, seen))
    if isinstance(found, Known | Retired):
        return found
    return await _same_conflict(work, seen, found) if isinstance(found, Against) else None


async def _keep(work: UnitOfWork, seen: Sighting, against: Against, origin: Origin) -> FoundConflict:
    if (same := await _same_conflict(work, seen, against)) is not None:
        return same
    before = await bindings.conflict_of(work.conn, iss=seen.iss, sub=seen.sub, user_id=seen.user_id)
    change = note_conflict(seen, against, before.id if before else new_id(), origin)
    await bindings.save_conflict(work, change)
    return change.state


async def _same_conflict(work: UnitOfWork, seen: Sighting, against: Against) -> FoundConflict | None:
    """The stored conflict, where the same stands against it and the same claim named the user."""
    found = await bindings.conflict_of(work.conn, iss=seen.iss, sub=seen.sub, user_id=seen.user_id)
    same = found is not None and (found.against, found.named) == (against, seen.named)
    return found if same else None


async def _held(work: UnitOfWork, seen: Sighting) -> list[Held]:
    return await bindings.held(work.conn, iss=seen.iss, sub=seen.sub, user_id=seen.user_id)


def _announce(context: Context, documents: Sequence[Document]) -> None:
    """Known here at once, not only when the broker brings it back."""
    context.policy.take(context.service, *documents)
