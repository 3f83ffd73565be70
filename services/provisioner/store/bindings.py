"""SQL of bindings and their conflicts. Writers take turns (store/inventory.py); the indexes guard that."""

from datetime import datetime
from typing import Any

from services.provisioner.domain.bindings import Against, FoundConflict, Held, Named, Rebinding
from services.provisioner.domain.claims import SERVICE
from shared.contracts.change import Change
from shared.contracts.documents import Binding, Document, binding_id
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.foundation.errors import Bug
from shared.messaging import outbox


async def held(conn: Conn, *, iss: str, sub: str, user_id: str) -> list[Held]:
    """Every pair of the issuer that the subject or the user has or had."""
    rows = await conn.fetch(
        """
        SELECT sub, user_id, killed_at IS NOT NULL AS killed FROM binding WHERE iss = $1 AND sub = $2
        UNION
        SELECT sub, user_id, killed_at IS NOT NULL FROM binding WHERE iss = $1 AND user_id = $3
        """,
        iss,
        sub,
        user_id,
    )
    return [Held(row["sub"], row["user_id"], row["killed"]) for row in rows]


async def conflict(conn: Conn, conflict_id: str) -> FoundConflict | None:
    row = await conn.fetchrow(
        """
        SELECT id::text AS id, iss, sub, user_id, bound_user_id, bound_sub, lookup, lookup_value,
            external_id_issuer, proof, found_at, settled_at
        FROM binding_conflict WHERE id = $1
        """,
        conflict_id,
    )
    return None if row is None else _conflict(row)


async def conflict_of(conn: Conn, *, iss: str, sub: str, user_id: str) -> FoundConflict | None:
    """The one about this subject and this user."""
    row = await conn.fetchrow(
        """
        SELECT id::text AS id, iss, sub, user_id, bound_user_id, bound_sub, lookup, lookup_value,
            external_id_issuer, proof, found_at, settled_at
        FROM binding_conflict WHERE iss = $1 AND sub = $2 AND user_id = $3
        """,
        iss,
        sub,
        user_id,
    )
    return None if row is None else _conflict(row)


async def save_bound(work: UnitOfWork, change: Change[Binding]) -> list[Document]:
    """A first sight, with its fact and its document as it is published."""
    binding = change.state
    await _insert(work.conn, binding)
    return await _publish(work, change, binding)


async def save_conflict(work: UnitOfWork, change: Change[FoundConflict]) -> None:
    """New, or found again where something else stands against it: its id stays."""
    found = change.state
    await work.conn.execute(
        """
        INSERT INTO binding_conflict (
            id, iss, sub, user_id, bound_user_id, bound_sub, lookup, lookup_value, external_id_issuer, proof,
            found_at
        ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (iss, sub, user_id) DO UPDATE
        SET bound_user_id = excluded.bound_user_id, bound_sub = excluded.bound_sub, lookup = excluded.lookup,
            lookup_value = excluded.lookup_value, external_id_issuer = excluded.external_id_issuer,
            proof = excluded.proof, found_at = excluded.found_at
        """,
        found.id,
        found.iss,
        found.sub,
        found.user_id,
        found.against.bound_user_id,
        found.against.bound_sub,
        found.named.lookup,
        found.named.value,
        found.named.external_id_issuer,
        found.proof,
        found.found_at,
    )
    outbox.append(work, SERVICE, *change.events)
    work.alert(*change.alerts)


async def save_rebinding(work: UnitOfWork, change: Change[Rebinding]) -> list[Document]:
    """The killed pairs, the new one and the settled conflict; the documents as they are published."""
    found, binding = change.state.conflict, change.state.binding
    for pair in change.state.killed:
        await _kill(work.conn, found.iss, pair, at=binding.bound_at)
    await _insert(work.conn, binding)
    await work.conn.execute(
        "UPDATE binding_conflict SET settled_at = $2 WHERE id = $1", found.id, binding.bound_at
    )
    ids = [binding_id(found.iss, pair.sub) for pair in change.state.killed if pair.sub != binding.sub]
    gone = await document_store.some(work.conn, Binding, ids)
    killed = [one.tombstone() for one in gone.values()]
    return await _publish(work, change, *killed, binding)


async def _publish(work: UnitOfWork, change: Change[Any], *documents: Document) -> list[Document]:
    outbox.append(work, SERVICE, *change.events)
    at: datetime = change.events[0].at
    return await document_store.put(work, SERVICE, *documents, at=at)


async def _insert(conn: Conn, binding: Binding) -> None:
    await conn.execute(
        "INSERT INTO binding (iss, sub, user_id, bound_at) VALUES ($1, $2, $3, $4)",
        binding.iss,
        binding.sub,
        binding.user_id,
        binding.bound_at,
    )


async def _kill(conn: Conn, iss: str, pair: Held, *, at: datetime) -> None:
    killed = await conn.fetchval(
        """
        UPDATE binding SET killed_at = $4
        WHERE iss = $1 AND sub = $2 AND user_id = $3 AND killed_at IS NULL RETURNING sub
        """,
        iss,
        pair.sub,
        pair.user_id,
        at,
    )
    if killed is None:
        raise Bug(f"subject {pair.sub} is not bound to {pair.user_id}; this is a bug", code="not_bound")


def _conflict(row: Any) -> FoundConflict:
    return FoundConflict(
        id=row["id"],
        iss=row["iss"],
        sub=row["sub"],
        user_id=row["user_id"],
        against=Against(row["bound_user_id"], row["bound_sub"]),
        named=Named(row["lookup"], row["lookup_value"], row["external_id_issuer"]),
        proof=row["proof"],
        found_at=row["found_at"],
        settled_at=row["settled_at"],
    )
