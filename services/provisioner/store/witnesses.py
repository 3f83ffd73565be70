"""SQL of approval's witnesses, and the locks of tickets, whose facts arrive in any order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from services.provisioner.domain.claims import Claim
from services.provisioner.domain.rechecks import Witness
from services.provisioner.store.rows import claim_of
from shared.contracts.approval import Vote
from shared.contracts.event import Revisions
from shared.contracts.subject import SubjectKind
from shared.database.locks import lock_names
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork

TICKETS: Final = 7302
"""The space of the names that lock a ticket."""


async def insert_witness(
    conn: Conn,
    witness: Witness,
    *,
    kind: SubjectKind,
    subject_id: str,
    ticket_id: str,
    event_id: str,
    now: datetime,
) -> None:
    """The first one is kept: a second review of the same subject does not change what was vouched for."""
    await conn.execute(
        """
        INSERT INTO witness (subject_kind, subject_id, ticket_id, content_hash, event_id, received_at, votes,
            auto_approved_by, revisions, approved_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
        """,
        kind.value,
        subject_id,
        ticket_id,
        witness.content_hash,
        event_id,
        now,
        [vote.model_dump(mode="json") for vote in witness.votes],
        witness.auto_approved_by,
        witness.revisions.model_dump(mode="json"),
        witness.approved_at,
    )


async def find_witness(conn: Conn, kind: SubjectKind, subject_id: str) -> Witness | None:
    """Approval's own word about one subject."""
    row = await conn.fetchrow(
        """
        SELECT content_hash, votes, auto_approved_by, revisions, approved_at
        FROM witness WHERE subject_kind = $1 AND subject_id = $2
        """,
        kind.value,
        subject_id,
    )
    if row is None:
        return None
    return _witness_of(row)


async def approved_together(conn: Conn, subject_id: str) -> tuple[list[Claim], Witness | None]:
    """All claims of a target in one revision, closed ones too, and approval's own word about them."""
    [row] = await conn.fetch(
        """
        SELECT
            ARRAY(SELECT c FROM whole_claim c WHERE c.subject_id = subject.id ORDER BY c.id) AS claims,
            w.content_hash, w.votes, w.auto_approved_by, w.revisions, w.approved_at
        FROM (VALUES ($1)) AS subject (id)
        LEFT JOIN witness w ON w.subject_kind = 'target' AND w.subject_id = subject.id
        """,
        subject_id,
    )
    witness = None if row["content_hash"] is None else _witness_of(row)
    return [claim_of(claim) for claim in row["claims"]], witness


def _witness_of(row: asyncpg.Record) -> Witness:
    return Witness(
        content_hash=row["content_hash"],
        votes=tuple(Vote.model_validate(vote) for vote in row["votes"]),
        auto_approved_by=row["auto_approved_by"],
        revisions=Revisions.model_validate(row["revisions"]),
        approved_at=row["approved_at"],
    )


async def lock_tickets(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """Serialise what arrives about a ticket on two topics and over HTTP: one of them sees the other."""
    await lock_names(work, ticket_ids, space=TICKETS)
