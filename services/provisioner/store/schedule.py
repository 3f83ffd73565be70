"""SQL that finds what is due: for the engine's visits and polls, and for the expiry producer."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from services.provisioner.domain.assignments import Assignment, CallKind, Observed, Op
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.decisions import likely_call
from services.provisioner.store.claims import ClaimKey
from services.provisioner.store.rows import claim_of
from shared.database.pool import Conn


@dataclass(frozen=True, slots=True)
class Due:
    """What the scheduler needs to know of a due assignment before it begins a visit."""

    id: int
    account_id: str
    set_id: str
    observed: Observed
    next_at: datetime
    """Since when it is due."""
    wanted: bool
    """A claim wants it now; one that has yet to pass its re-check counts."""
    revoking: bool
    """A claim that ended waits for it."""

    @classmethod
    def of(cls, assignment: Assignment, now: datetime) -> "Due":
        """Of one that is loaded and due, as `due_assignments` has it."""
        return cls(
            assignment.id,
            assignment.account_id,
            assignment.set_id,
            assignment.observed,
            assignment.next_at or now,
            wanted=bool(assignment.holding(now) or assignment.starting(now)),
            revoking=bool(assignment.in_state(ClaimState.REVOKING)),
        )

    @property
    def pair(self) -> tuple[str, str]:
        """What AWS lists assignments by."""
        return self.account_id, self.set_id

    @property
    def call(self) -> CallKind | None:
        """Which call to AWS a visit may come to."""
        return likely_call(wanted=self.wanted, observed=self.observed)

    @property
    def only_looks(self) -> bool:
        """It confirms what was done, or looks whether that still holds."""
        return self.call is None

    @property
    def urgent(self) -> bool:
        """Access may have to be taken away: it waits for no visit that is not for that."""
        return self.revoking and not self.wanted


@dataclass(frozen=True, slots=True)
class InFlight:
    """An assignment with an operation of ours."""

    id: int
    account_id: str
    set_id: str
    op: Op


async def due_assignments(conn: Conn, *, now: datetime) -> list[Due]:
    """What is due and has no operation in flight; what takes access away first, then the most overdue.

    At most 500 of either, and 20 of an account: an account has one operation at a time, and what waits for
    it must not hide what is due elsewhere. The 10,000 most overdue are looked through. The limits are
    literals and each follows its partial index: with a parameter the planner expects a tenth of the table
    and reads all of it.
    """
    rows = await conn.fetch(
        """
        WITH revoking AS (
            SELECT a.id, a.account_id, c.ended_at AS since
            FROM claim c JOIN assignment a ON a.id = c.assignment_id
            WHERE c.state = 'revoking' AND a.next_at <= $1 AND a.op_kind IS NULL
            ORDER BY c.ended_at LIMIT 10000
        ), due AS (
            SELECT id, account_id, next_at AS since
            FROM assignment WHERE next_at <= $1 AND op_kind IS NULL ORDER BY next_at LIMIT 10000
        ), ranked AS (
            SELECT id, since, 1 AS list,
                row_number() OVER (PARTITION BY account_id ORDER BY since, id) AS rank FROM revoking
            UNION ALL
            SELECT id, since, 2 AS list,
                row_number() OVER (PARTITION BY account_id ORDER BY since, id) AS rank FROM due
        )
        (SELECT id FROM ranked WHERE list = 1 AND rank <= 20 ORDER BY since LIMIT 500)
        UNION
        (SELECT id FROM ranked WHERE list = 2 AND rank <= 20 ORDER BY since LIMIT 500)
        """,
        now,
    )
    return await _due_among(conn, [row["id"] for row in rows], now=now) if rows else []


async def _due_among(conn: Conn, ids: Collection[int], *, now: datetime) -> list[Due]:
    rows = await conn.fetch(
        """
        SELECT a.id, a.account_id, a.set_id, a.observed, a.next_at,
            coalesce(c.wanted, false) AS wanted, coalesce(c.revoking, false) AS revoking
        FROM assignment a
        LEFT JOIN LATERAL (
            SELECT bool_or(state IN ('scheduled', 'granting', 'active') AND $1 < ends_at
                           AND (state <> 'scheduled' OR starts_at <= $1)) AS wanted,
                   bool_or(state = 'revoking') AS revoking
            FROM claim
            WHERE assignment_id = a.id
                AND state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        ) c ON true
        WHERE a.id = ANY($2) AND a.next_at <= $1 AND a.op_kind IS NULL
        ORDER BY coalesce(c.wanted, false), NOT coalesce(c.revoking, false), a.next_at, a.id
        """,
        now,
        list(ids),
    )
    return [Due(**(dict(row) | {"observed": Observed(row["observed"])})) for row in rows]


async def make_due(conn: Conn, *, now: datetime) -> None:
    """What was to be visited later, and moves: it is visited now. Too early does no harm."""
    await conn.execute(
        """
        UPDATE assignment SET next_at = $1 WHERE next_at > $1 AND op_kind IS NULL AND id IN (
            SELECT assignment_id FROM claim WHERE state IN ('granting', 'revoking')
        )
        """,
        now,
    )


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
        SELECT id, account_id, set_id, op_kind, op_request_id, op_started FROM assignment
        WHERE op_kind IS NOT NULL ORDER BY op_started LIMIT 1000
        """
    )
    return [
        InFlight(
            row["id"],
            row["account_id"],
            row["set_id"],
            Op(row["op_kind"], row["op_started"], row["op_request_id"]),
        )
        for row in rows
    ]


async def lock_ended(conn: Conn, *, now: datetime) -> list[int]:
    """Lock assignments with claims that are over by now, the most overdue first; skip those being locked.

    No leader: several producers share the work by SKIP LOCKED. At most a hundred, the most overdue: the
    literal limit follows the partial index on the ends of open claims, so that the cost of an end is the
    same however large the table grows. A producer that is frozen here is cut off by the server after three
    seconds: the other must not wait longer for these ends than for the lease.
    """
    await conn.execute("SET LOCAL idle_in_transaction_session_timeout = '3s'")
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


async def unwitnessed(conn: Conn, *, received_before: datetime) -> list[ClaimKey]:
    """Approvals that the approval service has not confirmed for too long."""
    rows = await conn.fetch(
        """
        SELECT id, assignment_id FROM claim WHERE state = 'waiting' AND received_at <= $1
        ORDER BY received_at LIMIT 100
        """,
        received_before,
    )
    return [ClaimKey(row["id"], row["assignment_id"]) for row in rows]


async def overdue(conn: Conn, *, ended_before: datetime) -> list[Claim]:
    """Claims whose revoke is late, the latest first."""
    rows = await conn.fetch(
        """
        SELECT c AS whole FROM whole_claim c WHERE c.state = 'revoking' AND c.ended_at <= $1
        ORDER BY c.ended_at LIMIT 100
        """,
        ended_before,
    )
    return [claim_of(row["whole"]) for row in rows]
