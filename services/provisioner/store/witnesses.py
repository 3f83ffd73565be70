"""SQL of what arrives before it is needed: approval's witnesses, and stops of claims not there yet."""

from dataclasses import dataclass
from datetime import datetime

from shared.contracts.access import EndCause
from shared.contracts.event import Actor
from shared.db import Conn


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody stopped a grant (or a whole ticket) before its approval got here."""

    cause: EndCause
    actor: Actor
    why: str


async def insert_witness(
    conn: Conn,
    *,
    ticket_id: str,
    target_id: str,
    revision: int,
    content_hash: str,
    event_id: str,
    now: datetime,
) -> None:
    """Keep the first word: a second review of the same revision does not change what was vouched for."""
    await conn.execute(
        """
        INSERT INTO witness (ticket_id, target_id, revision, content_hash, event_id, received_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
        """,
        ticket_id,
        target_id,
        revision,
        content_hash,
        event_id,
        now,
    )


async def witness_hash(conn: Conn, *, ticket_id: str, target_id: str, revision: int) -> str | None:
    found: str | None = await conn.fetchval(
        "SELECT content_hash FROM witness WHERE ticket_id = $1 AND target_id = $2 AND revision = $3",
        ticket_id,
        target_id,
        revision,
    )
    return found


async def lock_ticket(conn: Conn, ticket_id: str) -> None:
    """Serialise what arrives about a ticket on two topics and over HTTP: one of them sees the other."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7302))", ticket_id)


async def insert_stop(conn: Conn, stopped_id: str, stop: Stop, *, now: datetime) -> None:
    """Remember a stop for good; the first one is kept."""
    await conn.execute(
        """
        INSERT INTO stop (id, cause, actor, why, stopped_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """,
        stopped_id,
        stop.cause,
        stop.actor.model_dump(mode="json"),
        stop.why,
        now,
    )


async def find_stop(conn: Conn, *, grant_id: str, ticket_id: str) -> Stop | None:
    """The stop of a grant, or of its whole ticket."""
    row = await conn.fetchrow(
        "SELECT cause, actor, why FROM stop WHERE id = ANY($1) ORDER BY stopped_at LIMIT 1",
        [grant_id, ticket_id],
    )
    return None if row is None else Stop(row["cause"], Actor.model_validate(row["actor"]), row["why"])
