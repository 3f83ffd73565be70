"""SQL of stops, which are remembered for claims that are not there yet.

Of grants and of whole tickets, by their ids; and of all access of a user or on an account, by when it was
ended: that holds for what was asked for before.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from shared.contracts.access import EndCause
from shared.contracts.event import Actor
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork

_CLAIMS_COME: Final = 7304
"""The lock that new claims share, and that whoever ends all access of somebody has alone."""


@dataclass(frozen=True, slots=True)
class StoredStop:
    """Somebody stopped what was not here yet."""

    cause: EndCause
    actor: Actor
    why: str


@dataclass(frozen=True, slots=True)
class ClaimsCome:
    """The lock is held by this unit."""


async def let_claims_come(work: UnitOfWork) -> None:
    """Before claims are added: whoever ends all access of somebody meanwhile waits, and then sees them."""
    if "shared" not in work.held(ClaimsCome):
        await work.conn.execute("SELECT pg_advisory_xact_lock_shared($1)", _CLAIMS_COME)
        work.held(ClaimsCome)["shared"] = ClaimsCome()


async def keep_claims_away(work: UnitOfWork) -> None:
    """No claim is added until this unit is over, and those that were are seen by its next statement."""
    await work.conn.execute("SELECT pg_advisory_xact_lock($1)", _CLAIMS_COME)


async def insert(
    conn: Conn, stopped_ids: Collection[str], stop: StoredStop, *, now: datetime, until: datetime
) -> None:
    """Remember a stop of grants, or of a whole ticket; where there was one already that one is kept."""
    await conn.execute(
        """
        INSERT INTO stop (id, cause, actor, why, stopped_at, until)
        SELECT id, $2, $3, $4, $5, $6 FROM unnest($1::text[]) AS stopped (id) ON CONFLICT DO NOTHING
        """,
        sorted(stopped_ids),
        stop.cause,
        stop.actor.model_dump(mode="json"),
        stop.why,
        now,
        until,
    )


async def insert_of_all(
    conn: Conn,
    about: Literal["user", "account"],
    stopped_id: str,
    stop: StoredStop,
    *,
    now: datetime,
    until: datetime,
) -> None:
    """Remember that all access of a user, or on an account, was ended now."""
    await conn.execute(
        """
        INSERT INTO stop_of_all (about, id, stopped_at, cause, actor, why, until)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
        """,
        about,
        stopped_id,
        now,
        stop.cause,
        stop.actor.model_dump(mode="json"),
        stop.why,
        until,
    )


async def find(
    conn: Conn, *, grant_id: str, ticket_id: str, user_id: str, account_id: str, submitted_at: datetime
) -> StoredStop | None:
    """The first stop of a grant: by itself, with its ticket, or as all access of its user or account."""
    row = await conn.fetchrow(
        """
        SELECT cause, actor, why FROM (
            SELECT cause, actor, why, stopped_at FROM stop WHERE id = ANY($1)
            UNION ALL
            SELECT cause, actor, why, stopped_at FROM stop_of_all
            WHERE (about, id) IN (('user', $2), ('account', $3)) AND stopped_at >= $4
        ) AS met
        ORDER BY stopped_at LIMIT 1
        """,
        [grant_id, ticket_id],
        user_id,
        account_id,
        submitted_at,
    )
    return (
        None
        if row is None
        else StoredStop(EndCause(row["cause"]), Actor.model_validate(row["actor"]), row["why"])
    )
