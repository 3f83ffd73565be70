"""SQL that finds claims; store/assignments.py saves them. No lock is taken here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from services.provisioner.domain.claims import Claim
from services.provisioner.store.rows import claim_of
from shared.database.filters import given, query
from shared.database.pool import Conn

_OPEN_CLAIMS: Final = """
    SELECT id, assignment_id FROM claim
    WHERE {where} AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
"""


class ClaimKey(NamedTuple):
    """A claim and the assignment that is locked to change it."""

    id: str
    assignment_id: int


async def assignments_of_subject(conn: Conn, subject_id: str) -> list[int]:
    """The assignments of all claims of a target in one revision."""
    rows = await conn.fetch("SELECT assignment_id FROM claim WHERE subject_id = $1", subject_id)
    return [row["assignment_id"] for row in rows]


async def closed_with_extensions(conn: Conn, assignment_id: int, *, ticket_id: str) -> list[Claim]:
    """Closed claims of an assignment, of this ticket, that an extension waits for all the same."""
    rows = await conn.fetch(
        """
        SELECT c AS whole FROM extension e
        JOIN whole_claim c ON c.id = e.grant_id AND c.ticket_id = e.ticket_id AND c.target_id = e.target_id
        WHERE e.ticket_id = $2 AND e.state = 'waiting' AND c.assignment_id = $1
            AND c.state IN ('revoked', 'released', 'failed')
        """,
        assignment_id,
        ticket_id,
    )
    found = [claim_of(row["whole"]) for row in rows]
    return list({claim.id: claim for claim in found}.values())


async def keys(conn: Conn, ids: Sequence[str]) -> list[ClaimKey]:
    """The claims that there are of these grants, closed ones too."""
    rows = await conn.fetch("SELECT id, assignment_id FROM claim WHERE id = ANY($1)", list(ids))
    return [ClaimKey(row["id"], row["assignment_id"]) for row in rows]


async def any_holds(conn: Conn, assignment_id: int, *, now: datetime) -> bool:
    """Whether a claim wants the assignment at this moment, as Claim.holds has it."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM claim WHERE assignment_id = $1 AND state IN ('granting', 'active')
            AND ends_at > $2)
        """,
        assignment_id,
        now,
    )
    return found


async def open_claims(conn: Conn, grant_ids: Sequence[str]) -> list[ClaimKey]:
    """Those of these that are not closed."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id FROM claim
        WHERE id = ANY($1) AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        """,
        grant_ids,
    )
    return [ClaimKey(row["id"], row["assignment_id"]) for row in rows]


async def open_claims_of(
    conn: Conn, *, ticket_id: str | None, user_id: str | None, account_id: str | None
) -> list[ClaimKey]:
    """Every claim of all that is given that is not closed."""
    wanted = given(("ticket_id = {}", ticket_id), ("user_id = {}", user_id), ("account_id = {}", account_id))
    rows = await conn.fetch(*query(_OPEN_CLAIMS, wanted))
    return [ClaimKey(row["id"], row["assignment_id"]) for row in rows]


async def granting(conn: Conn) -> tuple[str, ...]:
    """The claims that AWS is asked for, or is about to be."""
    rows = await conn.fetch("SELECT id FROM claim WHERE state = 'granting' ORDER BY id")
    return tuple(row["id"] for row in rows)
