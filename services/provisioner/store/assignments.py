"""SQL of the assignment rows: the unit of work of the engine and the lock of everything about a tuple."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.provisioner.domain.assignments import Assignment, Observed, Op
from shared.database.pool import Conn
from shared.foundation.errors import Bug


@dataclass(frozen=True, slots=True)
class Due:
    """What the scheduler needs to know of a due assignment before it begins a visit."""

    id: int
    account_id: str
    observed: Observed
    wanted: bool
    """A claim wants it now; one that has yet to pass its re-check counts."""
    revoking: bool
    """A claim that ended waits for it."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """An assignment with an operation of ours."""

    id: int
    account_id: str
    op: Op


async def ensure_assignment(conn: Conn, *, instance: str, user_id: str, account_id: str, set_id: str) -> int:
    """The id of a tuple's row, made if there is none. An existing row is not locked by this."""
    await conn.execute(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        instance,
        user_id,
        account_id,
        set_id,
    )
    found: int = await conn.fetchval(
        """
        SELECT id FROM assignment WHERE instance = $1 AND user_id = $2 AND account_id = $3 AND set_id = $4
        """,
        instance,
        user_id,
        account_id,
        set_id,
    )
    return found


async def load_assignment(conn: Conn, assignment_id: int) -> Assignment:
    """Without a lock: for a first look."""
    row = await conn.fetchrow(
        """
        SELECT id, instance, user_id, account_id, set_id, set_arn, desired, observed, op_kind, op_request_id,
            op_started, request_id, deletion_id, deletion_ended, settled_at, absent_seen, absent_first,
            attempt, next_at, pre_existing, ever_operated, verified_at, closed_at, last_code, last_error
        FROM assignment WHERE id = $1
        """,
        assignment_id,
    )
    return _assignment(row)


async def lock_assignments(conn: Conn, ids: Sequence[int]) -> dict[int, Assignment]:
    """Lock in the order of ids, as everybody does, so that nobody waits in a circle."""
    rows = await conn.fetch(
        """
        SELECT id, instance, user_id, account_id, set_id, set_arn, desired, observed, op_kind, op_request_id,
            op_started, request_id, deletion_id, deletion_ended, settled_at, absent_seen, absent_first,
            attempt, next_at, pre_existing, ever_operated, verified_at, closed_at, last_code, last_error
        FROM assignment WHERE id = ANY($1) ORDER BY id FOR UPDATE
        """,
        sorted(set(ids)),
    )
    return {row["id"]: _assignment(row) for row in rows}


async def lock_assignment(conn: Conn, assignment_id: int) -> Assignment:
    return (await lock_assignments(conn, [assignment_id]))[assignment_id]


async def save_assignment(conn: Conn, row: Assignment) -> None:
    """Write what changes in a row's life. The caller holds its lock."""
    status = await conn.execute(
        """
        UPDATE assignment SET set_arn = $2, desired = $3, observed = $4, op_kind = $5, op_request_id = $6,
            op_started = $7, request_id = $8, settled_at = $9, absent_seen = $10, absent_first = $11,
            attempt = $12, next_at = $13, pre_existing = $14, ever_operated = $15, verified_at = $16,
            closed_at = $17, last_code = $18, last_error = $19, deletion_id = $20, deletion_ended = $21
        WHERE id = $1
        """,
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
        row.ever_operated,
        row.verified_at,
        row.closed_at,
        row.last_code,
        row.last_error,
        row.deletion_id,
        row.deletion_ended,
    )
    if status != "UPDATE 1":
        raise Bug(f"assignment {row.id} is gone; this is a bug", code="assignment_gone")


async def make_due(conn: Conn, assignment_id: int, *, at: datetime) -> None:
    """Have it visited at `at`, or earlier if it already was to be."""
    await conn.execute(
        "UPDATE assignment SET next_at = least(coalesce(next_at, $2), $2) WHERE id = $1", assignment_id, at
    )


async def due_assignments(conn: Conn, *, now: datetime) -> list[Due]:
    """What is due and has no operation in flight; what takes access away first, then the most overdue.

    At most 500 of either. The limits are literals and each follows its partial index: with a parameter
    the planner expects a tenth of the table and reads all of it.
    """
    rows = await conn.fetch(
        """
        WITH candidate AS (
            (SELECT a.id FROM claim c JOIN assignment a ON a.id = c.assignment_id
             WHERE c.state = 'revoking' AND a.next_at <= $1 AND a.op_kind IS NULL
             ORDER BY c.ended_at LIMIT 500)
            UNION
            (SELECT id FROM assignment WHERE next_at <= $1 AND op_kind IS NULL ORDER BY next_at LIMIT 500)
        )
        SELECT a.id, a.account_id, a.observed,
            coalesce(c.wanted, false) AS wanted, coalesce(c.revoking, false) AS revoking
        FROM candidate JOIN assignment a ON a.id = candidate.id
        LEFT JOIN LATERAL (
            SELECT bool_or(state IN ('scheduled', 'granting', 'active')
                           AND starts_at <= $1 AND $1 < ends_at) AS wanted,
                   bool_or(state = 'revoking') AS revoking
            FROM claim
            WHERE assignment_id = a.id
                AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        ) c ON true
        ORDER BY coalesce(c.wanted, false), NOT coalesce(c.revoking, false), a.next_at
        """,
        now,
    )
    return [
        Due(row["id"], row["account_id"], Observed(row["observed"]), row["wanted"], row["revoking"])
        for row in rows
    ]


async def next_due(conn: Conn) -> datetime | None:
    """When the next assignment is due; those with an operation are polled anyway."""
    moment: datetime | None = await conn.fetchval(
        """
        SELECT next_at FROM assignment WHERE next_at IS NOT NULL AND op_kind IS NULL
        ORDER BY next_at LIMIT 1
        """
    )
    return moment


async def in_flight(conn: Conn) -> list[InFlight]:
    """Every operation of ours that has not been seen to end; at most AWS's slots, and those lost."""
    rows = await conn.fetch(
        """
        SELECT id, account_id, op_kind, op_request_id, op_started FROM assignment
        WHERE op_kind IS NOT NULL ORDER BY op_started LIMIT 1000
        """
    )
    return [
        InFlight(row["id"], row["account_id"], Op(row["op_kind"], row["op_started"], row["op_request_id"]))
        for row in rows
    ]


def _assignment(row: asyncpg.Record | None) -> Assignment:
    if row is None:
        raise Bug("an assignment that a claim names is not there; this is a bug", code="assignment_gone")
    op = Op(row["op_kind"], row["op_started"], row["op_request_id"]) if row["op_kind"] else None
    return Assignment(
        id=row["id"],
        instance=row["instance"],
        user_id=row["user_id"],
        account_id=row["account_id"],
        set_id=row["set_id"],
        set_arn=row["set_arn"],
        desired=row["desired"],
        observed=Observed(row["observed"]),
        op=op,
        request_id=row["request_id"],
        deletion_id=row["deletion_id"],
        deletion_ended=row["deletion_ended"],
        settled_at=row["settled_at"],
        absent_seen=row["absent_seen"],
        absent_first=row["absent_first"],
        attempt=row["attempt"],
        next_at=row["next_at"],
        pre_existing=row["pre_existing"],
        ever_operated=row["ever_operated"],
        verified_at=row["verified_at"],
        closed_at=row["closed_at"],
        last_code=row["last_code"],
        last_error=row["last_error"],
    )
