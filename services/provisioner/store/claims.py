"""SQL of claims. Whoever changes a claim holds the lock of its assignment; `version` guards besides."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from services.provisioner.domain.claims import SERVICE, Claim, ClaimState, Said
from shared.contracts.access import EndCause
from shared.database.pool import Conn
from shared.foundation.errors import Bug
from shared.messaging import outbox


async def insert_claim(conn: Conn, claim: Claim) -> bool:
    """Store a new claim; False when its grant is known already."""
    row = await conn.fetchval(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, user_id, account_id,
            set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state, version,
            received_at, cause, parties, duration_asked)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
        ON CONFLICT (id) DO NOTHING RETURNING id
        """,
        claim.id,
        claim.assignment_id,
        claim.instance,
        claim.ticket_id,
        claim.target_id,
        claim.revision,
        claim.user_id,
        claim.account_id,
        claim.set_id,
        claim.set_digest,
        claim.content_hash,
        claim.session_duration,
        claim.starts_at,
        claim.ends_at,
        claim.state.value,
        claim.version,
        claim.received_at,
        claim.cause,
        list(claim.parties),
        claim.duration_asked,
    )
    return row is not None


async def save_claim(conn: Conn, claim: Claim, *, before: int) -> None:
    """Write a claim after its transitions; `before` is the version it was loaded at."""
    status = await conn.execute(
        """
        UPDATE claim SET state = $3, version = $4, granted_at = $5, already_held = $6, request_id = $7,
            ended_at = $8, end_cause = $9, code = $10, detail = $11, kept_by = $12, overdue_at = $13,
            credentials_until = $14, approval_holds = $15, seen_at = $16
        WHERE id = $1 AND version = $2
        """,
        claim.id,
        before,
        claim.state.value,
        claim.version,
        claim.granted_at,
        claim.already_held,
        claim.request_id,
        claim.ended_at,
        claim.end_cause,
        claim.code,
        claim.detail,
        list(claim.kept_by),
        claim.overdue_at,
        claim.credentials_until,
        claim.approval_holds,
        claim.seen_at,
    )
    if status != "UPDATE 1":
        raise Bug(
            f"claim {claim.id} is not at version {before}: it was changed without its assignment's lock; "
            "this is a bug",
            code="claim_changed",
        )


async def save_said(conn: Conn, said: Sequence[Said], *, loaded: Sequence[Claim]) -> None:
    """Save claims after their transitions and append the facts of these; the road of every change.

    One claim may be named several times, in order; `loaded` is what the transitions began with. What is
    only remembered of a claim is saved without a fact.
    """
    saved = {claim.id: claim for claim in loaded}
    for claim, facts in said:
        if claim != saved[claim.id]:
            await save_claim(conn, claim, before=saved[claim.id].version)
            saved[claim.id] = claim
            await outbox.append(conn, SERVICE, *facts)


async def claims_of_assignments(conn: Conn, assignment_ids: Sequence[int]) -> list[Claim]:
    """Claims that are not closed, of assignments whose locks the caller holds (or for a first look)."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id, instance, ticket_id, target_id, revision, user_id, account_id, set_id,
            set_digest, content_hash, session_duration, starts_at, ends_at, state, version, received_at,
            cause, granted_at, already_held, request_id, ended_at, end_cause, code, detail, kept_by,
            overdue_at, seen_at, credentials_until, parties, duration_asked, approval_holds
        FROM claim
        WHERE assignment_id = ANY($1)
            AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        ORDER BY id
        """,
        list(assignment_ids),
    )
    return [_claim(row) for row in rows]


async def any_holds(conn: Conn, assignment_id: int, *, now: datetime) -> bool:
    """Whether a claim wants the assignment at this moment, as Claim.holds says; no lock is taken."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM claim WHERE assignment_id = $1 AND state IN ('granting', 'active')
            AND starts_at <= $2 AND ends_at > $2)
        """,
        assignment_id,
        now,
    )
    return found


async def claims_of_target(conn: Conn, *, ticket_id: str, target_id: str) -> list[Claim]:
    """All claims of a target, closed ones too: together they are what was approved."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id, instance, ticket_id, target_id, revision, user_id, account_id, set_id,
            set_digest, content_hash, session_duration, starts_at, ends_at, state, version, received_at,
            cause, granted_at, already_held, request_id, ended_at, end_cause, code, detail, kept_by,
            overdue_at, seen_at, credentials_until, parties, duration_asked, approval_holds
        FROM claim WHERE ticket_id = $1 AND target_id = $2 ORDER BY id
        """,
        ticket_id,
        target_id,
    )
    return [_claim(row) for row in rows]


async def open_claims(
    conn: Conn,
    *,
    grant_ids: Sequence[str] | None = None,
    ticket_id: str | None = None,
    user_id: str | None = None,
    account_id: str | None = None,
) -> list[tuple[str, int]]:
    """(claim, assignment) of every claim that matches what is given and is not closed; no lock is taken."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id FROM claim
        WHERE ($1::text[] IS NULL OR id = ANY($1)) AND ($2::text IS NULL OR ticket_id = $2)
            AND ($3::text IS NULL OR user_id = $3) AND ($4::text IS NULL OR account_id = $4)
            AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        """,
        None if grant_ids is None else list(grant_ids),
        ticket_id,
        user_id,
        account_id,
    )
    return [(row["id"], row["assignment_id"]) for row in rows]


async def lock_due_assignments(conn: Conn, *, now: datetime) -> list[int]:
    """Lock assignments with claims that are over by now, the most overdue first; skip those being locked.

    No leader: several producers share the work by SKIP LOCKED. At most a hundred, the most overdue: the
    literal limit follows the partial index on the ends of open claims, so that the cost of an end is the
    same however large the table grows.
    """
    rows = await conn.fetch(
        """
        WITH due AS (
            SELECT assignment_id FROM claim
            WHERE state IN ('waiting', 'scheduled', 'granting', 'active') AND ends_at <= $1
            ORDER BY ends_at LIMIT 100
        )
        SELECT id FROM assignment WHERE id IN (SELECT assignment_id FROM due)
        ORDER BY id FOR UPDATE SKIP LOCKED
        """,
        now,
    )
    return [row["id"] for row in rows]


async def next_end(conn: Conn) -> datetime | None:
    """The earliest end of an open claim: the head of the partial index."""
    moment: datetime | None = await conn.fetchval(
        """
        SELECT ends_at FROM claim WHERE state IN ('waiting', 'scheduled', 'granting', 'active')
        ORDER BY ends_at LIMIT 1
        """
    )
    return moment


async def unwitnessed(conn: Conn, *, received_before: datetime) -> list[tuple[str, int]]:
    """(claim, assignment) of approvals that the approval service has not confirmed for too long."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id FROM claim WHERE state = 'waiting' AND received_at <= $1
        ORDER BY received_at LIMIT 100
        """,
        received_before,
    )
    return [(row["id"], row["assignment_id"]) for row in rows]


async def overdue(conn: Conn, *, ended_before: datetime) -> list[Claim]:
    """Claims whose revoke is late, the latest first."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id, instance, ticket_id, target_id, revision, user_id, account_id, set_id,
            set_digest, content_hash, session_duration, starts_at, ends_at, state, version, received_at,
            cause, granted_at, already_held, request_id, ended_at, end_cause, code, detail, kept_by,
            overdue_at, seen_at, credentials_until, parties, duration_asked, approval_holds
        FROM claim WHERE state = 'revoking' AND ended_at <= $1 ORDER BY ended_at LIMIT 100
        """,
        ended_before,
    )
    return [_claim(row) for row in rows]


def _claim(row: asyncpg.Record) -> Claim:
    fields: dict[str, Any] = dict(row)
    fields["state"] = ClaimState(row["state"])
    fields["end_cause"] = EndCause(row["end_cause"]) if row["end_cause"] else None
    fields["kept_by"], fields["parties"] = tuple(row["kept_by"]), tuple(row["parties"])
    return Claim(**fields)
