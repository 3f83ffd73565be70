"""SQL of assignments with their claims: locked together, saved together, and nothing else changes them.

Whoever changes a claim holds its assignment's lock. Locks are taken in the order of ids, as everybody does,
so that nobody waits in a circle.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import asyncpg

from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import SERVICE, Claim
from services.provisioner.store import extensions
from services.provisioner.store.commit_log import log_change
from services.provisioner.store.lease import LeaseLost
from services.provisioner.store.rows import assignment_of
from shared.contracts.change import Change
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Bug
from shared.messaging import outbox

LEASE_LOST: Final = "JL001"
"""The SQLSTATE of fenced_assignments() for an epoch that is over."""


_UPDATE_ASSIGNMENT: Final = """
    UPDATE assignment SET set_arn = $2, desired = $3, observed = $4, op_kind = $5, op_request_id = $6,
        op_started = $7, request_id = $8, settled_at = $9, absent_seen = $10, absent_first = $11,
        attempt = $12, next_at = $13, pre_existing = $14, ours = $15, verified_at = $16, closed_at = $17,
        last_code = $18, last_error = $19, deletion_id = $20, deletion_ended = $21, creating_until = $22,
        put_off = $23, reappeared = $24
    WHERE id = $1
"""
_WITH_CLAIM_MOVED: Final = """
    WITH moved AS (
    UPDATE claim SET state = $26, version = $27, granted_at = $28, already_held = $29, request_id = $30,
        ended_at = $31, end_cause = $32, code = $33, detail = $34, kept_by = $35, overdue_at = $36,
        credentials_until = $37, approval_holds = $38, seen_at = $39, ends_at = $40, content_hash = $41,
        duration_asked = $42, extension_id = $43, parties = $44
    WHERE id = $25 AND version = $45 RETURNING 1
    )
"""
_HOW_MANY_MOVED: Final = "RETURNING (SELECT count(*) FROM moved)"


async def ensure(conn: Conn, *, instance: str, user_id: str, account_id: str, set_id: str) -> int:
    """The id of a tuple's row, made if there is none. An existing row is not locked by this."""
    tuple_of_row = (instance, user_id, account_id, set_id)
    made: int | None = await conn.fetchval(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        *tuple_of_row,
    )
    if made is not None:
        return made
    found: int = await conn.fetchval(
        """
        SELECT id FROM assignment WHERE instance = $1 AND user_id = $2 AND account_id = $3 AND set_id = $4
        """,
        *tuple_of_row,
    )
    return found


async def load(conn: Conn, ids: Iterable[int]) -> list[Assignment]:
    """By id, without a lock: for a first look."""
    rows = await conn.fetch(
        "SELECT a AS whole FROM whole_assignment a WHERE a.id = ANY($1) ORDER BY a.id", sorted(set(ids))
    )
    return [assignment_of(row["whole"]) for row in rows]


async def lock(conn: Conn, ids: Iterable[int]) -> list[Assignment]:
    """By id, locked to the end of the transaction, as they are once they are locked."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    rows = await conn.fetch("SELECT a AS whole FROM locked_assignments($1) AS a", wanted)
    return [assignment_of(row["whole"]) for row in rows]


async def lock_fenced(conn: Conn, ids: Iterable[int], *, epoch: int) -> list[Assignment]:
    """As `lock`, and hold the lease for the rest of the transaction: nobody takes over before it commits.

    Every transaction of the engine begins with this. Raises LeaseLost when the epoch is not ours. An engine
    that is frozen while it holds the lease keeps the standby out until the server ends its session, after
    three seconds.
    """
    try:
        rows = await conn.fetch(
            "SELECT a AS whole FROM fenced_assignments($1, $2) AS a", epoch, sorted(set(ids))
        )
    except asyncpg.PostgresError as error:
        if error.sqlstate != LEASE_LOST:
            raise
        raise LeaseLost(str(error)) from None
    return [assignment_of(row["whole"]) for row in rows]


async def lock_one(conn: Conn, assignment_id: int) -> Assignment:
    found = await lock(conn, [assignment_id])
    if not found:
        raise Bug("an assignment that a claim names is not there; this is a bug", code="assignment_gone")
    return found[0]


async def save(work: UnitOfWork, before: Assignment, change: Change[Assignment]) -> None:
    """Write the rows that changed and append the facts; alerts and log lines follow the commit.

    `before` is as it was locked. Claims that are not in it are new.
    """
    after, known = change.state, {claim.id: claim for claim in before.claims}
    for claim in after.claims:
        if claim.id not in known:
            await _insert_claim(work.conn, claim)
        for extension in claim.extensions:
            if not extension.waits:
                await extensions.update(work.conn, extension)
    moved = [claim for claim in after.claims if claim.id in known and claim != known[claim.id]]
    for claim in moved:
        await _update(work.conn, after, claim, before=known[claim.id].version)
    if not moved and replace(after, claims=()) != replace(before, claims=()):
        await work.conn.execute(_UPDATE_ASSIGNMENT, *_row(after))
    outbox.append(work, SERVICE, *change.events)
    work.alert(*change.alerts)
    work.after_commit(partial(log_change, before, change))


async def _update(conn: Conn, after: Assignment, claim: Claim, *, before: int) -> None:
    """The assignment and one claim of it, which was loaded at the version `before`, in one statement."""
    moved: int = await conn.fetchval(
        _WITH_CLAIM_MOVED + _UPDATE_ASSIGNMENT + _HOW_MANY_MOVED, *_row(after), *_moving(claim), before
    )
    if moved != 1:
        raise Bug(
            f"claim {claim.id} is not at version {before}: it was changed without its assignment's lock; "
            "this is a bug",
            code="claim_changed",
        )


async def _insert_claim(conn: Conn, claim: Claim) -> None:
    """With what was approved, which never changes, and as far as it has come by now."""
    await conn.execute(
        """
        INSERT INTO claim (id, state, version, granted_at, already_held, request_id, ended_at, end_cause,
            code, detail, kept_by, overdue_at, credentials_until, approval_holds, seen_at, ends_at,
            content_hash, duration_asked, extension_id, parties, assignment_id, instance, ticket_id,
            target_id, revision, subject_id, user_id, account_id, set_id, set_digest, session_duration,
            starts_at, received_at, cause)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
            $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)
        """,
        *_moving(claim),
        claim.assignment_id,
        claim.instance,
        claim.ticket_id,
        claim.target_id,
        claim.revision,
        claim.subject_id,
        claim.user_id,
        claim.account_id,
        claim.set_id,
        claim.set_digest,
        claim.session_duration,
        claim.starts_at,
        claim.received_at,
        claim.cause,
    )


def _moving(claim: Claim) -> tuple[Any, ...]:
    """The id and what steps may change; its end and what approved it move with an extension."""
    return (
        claim.id,
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
        claim.ends_at,
        claim.content_hash,
        claim.duration_asked,
        claim.extension_id,
        list(claim.parties),
    )


def _row(row: Assignment) -> tuple[Any, ...]:
    """The id and what may change of the assignment's own row."""
    return (
        row.id,
        row.set_arn,
        row.desired,
        row.observed.value,
        row.op.kind if row.op else None,
        row.op.request_id if row.op else None,
        row.op.started if row.op else None,
        row.request_id,
        row.settled_at,
        row.absent_seen,
        row.absent_first,
        row.attempt,
        row.next_at,
        row.pre_existing,
        row.ours,
        row.verified_at,
        row.closed_at,
        row.last_code,
        row.last_error,
        row.deletion_id,
        row.deletion_ended,
        row.creating_until,
        row.put_off,
        row.reappeared,
    )
