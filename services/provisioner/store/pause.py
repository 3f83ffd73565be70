"""SQL of the pause: one row. Who begins a grant holds it, who pauses or resumes locks it."""

import asyncpg

from services.provisioner.domain.claims import SERVICE
from services.provisioner.domain.pause import Pause
from shared.contracts.change import Change
from shared.contracts.event import Actor
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox


async def find(conn: Conn) -> Pause | None:
    """The pause that stands, without a lock."""
    return _pause_of(await conn.fetchrow("SELECT since, actor, why FROM grant_pause"))


async def hold(conn: Conn) -> Pause | None:
    """The pause that stands; until the transaction is over nobody can pause or resume."""
    return _pause_of(await conn.fetchrow("SELECT since, actor, why FROM grant_pause FOR SHARE"))


async def lock(conn: Conn) -> Pause | None:
    """The pause that stands, for who changes it. Waits for all grants that are being begun."""
    return _pause_of(await conn.fetchrow("SELECT since, actor, why FROM grant_pause FOR UPDATE"))


async def save_paused(work: UnitOfWork, change: Change[Pause]) -> None:
    """A pause that begins, with its fact."""
    begun = change.state
    await work.conn.execute(
        "UPDATE grant_pause SET since = $1, actor = $2, why = $3",
        begun.since,
        begun.actor.model_dump(mode="json"),
        begun.why,
    )
    outbox.append(work, SERVICE, *change.events)


async def save_resumed(work: UnitOfWork, change: Change[Pause]) -> None:
    """A pause that is over, with its fact."""
    await work.conn.execute("UPDATE grant_pause SET since = NULL, actor = NULL, why = NULL")
    outbox.append(work, SERVICE, *change.events)


def _pause_of(row: asyncpg.Record | None) -> Pause | None:
    if row is None or row["since"] is None:
        return None
    return Pause(row["since"], Actor.model_validate(row["actor"]), row["why"])
