"""What was read of AWS, part by part, and what of the inventory AWS shows no more.

The documents themselves are shared/documents/document_store.py's.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from services.provisioner.domain.claims import SERVICE
from services.provisioner.domain.inventory import Missing
from services.provisioner.domain.readings import DETAILS, LISTS, Part, PartKey
from shared.contracts.configuration import InventoryConfirmed
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox

FEW_OLD: Final = 0.05
"""The share of details that may be older than they should: one that AWS cannot give stops nobody."""


async def take_turns(conn: Conn) -> None:
    """Let one writer of documents at a time compare and write; held to the end of the transaction."""
    await conn.execute("SELECT 1 FROM document_counter FOR UPDATE")


async def parts(conn: Conn) -> dict[PartKey, Part]:
    """All that was read and is still of use."""
    rows = await conn.fetch("SELECT kind, id, read_at, body, left_out FROM inventory_part")
    return {(row["kind"], row["id"]): Part(**dict(row)) for row in rows}


async def keep_part(work: UnitOfWork, part: Part) -> None:
    """Store what was read, unless another replica has read it later."""
    await work.conn.execute(
        """
        INSERT INTO inventory_part (kind, id, read_at, body, left_out) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (kind, id) DO UPDATE
        SET read_at = excluded.read_at, body = excluded.body, left_out = excluded.left_out
        WHERE inventory_part.read_at <= excluded.read_at
        """,
        part.kind,
        part.id,
        part.read_at,
        dict(part.body),
        dict(part.left_out),
    )


async def forget_parts(work: UnitOfWork, keys: Collection[PartKey]) -> None:
    """Of what is there no more."""
    await work.conn.execute(
        """
        DELETE FROM inventory_part
        WHERE (kind, id) IN (SELECT kind, id FROM unnest($1::text[], $2::text[]) AS gone (kind, id))
        """,
        [kind for kind, _ in keys],
        [part_id for _, part_id in keys],
    )


async def read_at(conn: Conn, *, details_within: timedelta) -> datetime | None:
    """How old the directory is: not newer than its oldest list; None before all were read once.

    Details, which are read in slices, count once they are older than `details_within`.
    """
    found: datetime | None = await conn.fetchval(
        """
        SELECT CASE WHEN count(*) FILTER (WHERE kind = ANY($1)) = $2 THEN least(
            min(read_at) FILTER (WHERE kind <> ALL($3)),
            percentile_disc($4::float8) WITHIN GROUP (ORDER BY read_at) FILTER (WHERE kind = ANY($3))
                + $5::interval
        ) END FROM inventory_part
        """,
        [kind for kind, _ in LISTS],
        len(LISTS),
        list(DETAILS),
        FEW_OLD,
        details_within,
    )
    return found


async def missing(conn: Conn) -> list[Missing]:
    """What was held last time."""
    rows = await conn.fetch("SELECT key, found_at, confirmed FROM inventory_missing")
    return [Missing(**dict(row)) for row in rows]


async def note_missing(work: UnitOfWork, keys: Collection[str], *, at: datetime) -> None:
    """These and no others are held; what was held before keeps its time."""
    await work.conn.execute("DELETE FROM inventory_missing WHERE key <> ALL($1)", list(keys))
    await work.conn.execute(
        """
        INSERT INTO inventory_missing (key, found_at) SELECT key, $2 FROM unnest($1::text[]) AS held (key)
        ON CONFLICT (key) DO NOTHING
        """,
        list(keys),
        at,
    )


async def confirm_missing(work: UnitOfWork) -> None:
    """Somebody has looked: all that is held is gone."""
    await work.conn.execute("UPDATE inventory_missing SET confirmed = true")


def note_confirmed(work: UnitOfWork, fact: InventoryConfirmed) -> None:
    """Publish that somebody looked at a mass disappearance and confirmed it."""
    outbox.append(work, SERVICE, fact)
