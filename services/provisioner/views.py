"""Read-only SQL for people and tools: grants as they stand, what the engine is doing, the inventory's age."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.sentences import sentence_of
from services.provisioner.store import inventory as stored
from services.provisioner.store.rows import claim_of
from shared.database.filters import Condition, given, query
from shared.database.pool import Conn

GRANT_FIELDS: Final = (
    "id",
    "ticket_id",
    "target_id",
    "user_id",
    "account_id",
    "set_id",
    "state",
    "version",
    "starts_at",
    "ends_at",
    "granted_at",
    "already_held",
    "request_id",
    "ended_at",
    "end_cause",
    "code",
    "detail",
    "kept_by",
    "credentials_until",
)
"""What people see of a claim, in this order."""

_IN_STATE: Final[Mapping[str, LiteralString]] = {
    ClaimState.WAITING: "c.state = 'waiting'",
    ClaimState.SCHEDULED: "c.state = 'scheduled'",
    ClaimState.GRANTING: "c.state = 'granting'",
    ClaimState.ACTIVE: "c.state = 'active'",
    ClaimState.REVOKING: "c.state = 'revoking'",
    ClaimState.REVOKED: "c.state = 'revoked'",
    ClaimState.RELEASED: "c.state = 'released'",
    ClaimState.FAILED: "c.state = 'failed'",
}
_OPEN: Final = "c.state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')"
"""Few of all that ever were, with an index of their own."""
_GRANTS: Final = "SELECT c AS whole FROM whole_claim c WHERE {where} ORDER BY c.id DESC LIMIT {limit}"
# Bounds that are compared as rows are in the order of one index. By an equality PostgreSQL would choose by
# the average person and account, and sort all that a busy one has.
_GRANTS_OF_PERSON: Final = """
    SELECT c AS whole FROM whole_claim c WHERE {where} ORDER BY c.user_id DESC, c.id DESC LIMIT {limit}
"""
_GRANTS_ON_ACCOUNT: Final = """
    SELECT c AS whole FROM whole_claim c WHERE {where} ORDER BY c.account_id DESC, c.id DESC LIMIT {limit}
"""
_END: Final = "zzzz"
"""Behind every id: where the first page begins."""


def shown(claim: Claim) -> dict[str, Any]:
    """A claim as the API shows it."""
    return {name: _plain(getattr(claim, name)) for name in GRANT_FIELDS}


async def grants(
    conn: Conn,
    *,
    user_id: str | None,
    ticket_id: str | None,
    account_id: str | None,
    states: Sequence[str] | None,
    after: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first (ids are sortable by time); `after` is the last id of the page before."""
    whose = _Whose(user_id, ticket_id, account_id, after or _END)
    rows = await conn.fetch(*_page(whose, tuple(_in_states(states)), limit))
    return [shown(claim_of(row["whole"])) for row in rows]


@dataclass(frozen=True)
class _Whose:
    user_id: str | None
    ticket_id: str | None
    account_id: str | None
    before: str


def _page(whose: _Whose, in_states: Sequence[Condition], limit: int) -> tuple[str, *tuple[object, ...]]:
    """Along a person's grants, or an account's; a ticket's are few, and both together have an index."""
    user_id, account_id, before = whose.user_id, whose.account_id, whose.before
    if user_id is not None and account_id is None and whose.ticket_id is None:
        of_person = given(
            ("(c.user_id, c.id) < ({}, {})", user_id, before),
            ("(c.user_id, c.id) > ({}, '')", user_id),
            *in_states,
        )
        return query(_GRANTS_OF_PERSON, of_person, limit=limit)
    if account_id is not None and user_id is None and whose.ticket_id is None:
        on_account = given(
            ("(c.account_id, c.id) < ({}, {})", account_id, before),
            ("(c.account_id, c.id) > ({}, '')", account_id),
            *in_states,
        )
        return query(_GRANTS_ON_ACCOUNT, on_account, limit=limit)
    wanted = given(
        ("c.ticket_id = {}", whose.ticket_id),
        ("c.user_id = {}", user_id),
        ("c.account_id = {}", account_id),
        ("c.id < {}", before),
        *in_states,
    )
    return query(_GRANTS, wanted, limit=limit)


def _in_states(states: Sequence[str] | None) -> Iterator[Condition]:
    """One state by its own piece; of several PostgreSQL is told whether they are few."""
    if states and len(states) == 1:
        yield (_IN_STATE[states[0]],)
    elif states is not None:
        yield "c.state = ANY({})", list(states)
        if not set(states) & {ClaimState.REVOKED, ClaimState.RELEASED, ClaimState.FAILED}:
            yield (_OPEN,)


async def grant(conn: Conn, grant_id: str) -> dict[str, Any] | None:
    """One grant, with what was last read of its assignment in AWS; our words for an error, not AWS's."""
    row = await conn.fetchrow(
        """
        SELECT c AS whole, a.observed, a.verified_at, a.last_code, a.last_error, a.next_at,
            c.state = 'scheduled' AND EXISTS (SELECT 1 FROM grant_pause WHERE since IS NOT NULL) AS paused
        FROM whole_claim c JOIN assignment a ON a.id = c.assignment_id WHERE c.id = $1
        """,
        grant_id,
    )
    if row is None:
        return None
    return shown(claim_of(row["whole"])) | {
        "observed": row["observed"],
        "verified_at": _plain(row["verified_at"]),
        "last_error": sentence_of("paused" if row["paused"] else row["last_code"])
        if row["last_error"]
        else "",
        "next_at": _plain(row["next_at"]),
    }


async def operations(conn: Conn, *, now: datetime) -> dict[str, Any]:
    """Who is the active engine, what waits, what AWS works on for us, and what fails, in AWS's words."""
    lease = await conn.fetchrow("SELECT holder, epoch, deadline FROM lease")
    states = await conn.fetch(
        """
        SELECT state, count(*) AS count FROM claim
        WHERE state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking') GROUP BY state
        """
    )
    flights = await conn.fetch(
        """
        SELECT user_id, account_id, set_id, op_kind AS kind, op_request_id AS request_id,
            op_started AS started_at, attempt, last_error
        FROM assignment WHERE op_kind IS NOT NULL ORDER BY op_started
        """
    )
    failing = await conn.fetch(
        """
        SELECT user_id, account_id, set_id, desired, observed, attempt, next_at, last_error
        FROM assignment WHERE last_error <> '' AND op_kind IS NULL AND next_at IS NOT NULL
        ORDER BY next_at LIMIT 100
        """
    )
    due = await conn.fetchval("SELECT count(*) FROM assignment WHERE next_at <= $1 AND op_kind IS NULL", now)
    return {
        "engine": {name: _plain(value) for name, value in lease.items()} if lease else None,
        "active": bool(lease and lease["deadline"] > now),
        "grants": {row["state"]: row["count"] for row in states},
        "due": due,
        "in_flight": [{name: _plain(value) for name, value in row.items()} for row in flights],
        "failing": [{name: _plain(value) for name, value in row.items()} for row in failing],
    }


async def waiting(conn: Conn, *, now: datetime) -> list[dict[str, Any]]:
    """What waits for a slot at AWS, deletions first, the oldest first; at most 500.

    `kind` is the call that it is likely to come to (domain/decisions.py, `likely_call`).
    """
    rows = await conn.fetch(
        """
        SELECT a.user_id, a.account_id, a.set_id, c.since,
            CASE WHEN c.wanted THEN 'create' ELSE 'delete' END AS kind
        FROM assignment a
        JOIN LATERAL (
            SELECT bool_or(state <> 'revoking') AS wanted, min(coalesce(ended_at, starts_at)) AS since
            FROM claim
            WHERE assignment_id = a.id AND (state = 'revoking'
                OR state IN ('scheduled', 'granting', 'active') AND starts_at <= $1 AND $1 < ends_at)
        ) c ON c.since IS NOT NULL
        WHERE a.next_at <= $1 AND a.op_kind IS NULL
            AND (c.wanted AND a.observed IN ('unknown', 'deleted', 'absent', 'doubtful')
                OR NOT c.wanted AND a.observed IN ('unknown', 'present', 'created', 'doubtful'))
        ORDER BY c.wanted, c.since, a.id LIMIT 500
        """,
        now,
    )
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


async def binding_conflicts(conn: Conn, *, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Those that nobody has settled, newest first (ids are sortable by time)."""
    rows = await conn.fetch(
        """
        SELECT id, iss, sub, user_id, bound_user_id, bound_sub, lookup, lookup_value, found_at
        FROM binding_conflict
        WHERE settled_at IS NULL AND id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY id DESC LIMIT $2
        """,
        after,
        limit,
    )
    return [dict(row) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


async def inventory(conn: Conn, *, details_within: timedelta) -> dict[str, Any]:
    """How old the parts of the inventory are, what is held, and what cannot be read."""
    parts = await conn.fetch(
        """
        SELECT kind, count(*) AS count, min(read_at) AS oldest, max(read_at) AS newest
        FROM inventory_part GROUP BY kind ORDER BY kind
        """
    )
    held = await conn.fetch("SELECT key, found_at FROM inventory_missing ORDER BY key")
    left_out = await conn.fetch("SELECT left_out FROM inventory_part WHERE left_out <> '{}'")
    return {
        "read_at": await stored.read_at(conn, details_within=details_within),
        "parts": [dict(row) for row in parts],
        "held": [(row["key"], row["found_at"]) for row in held],
        "left_out": {key: why for row in left_out for key, why in row["left_out"].items()},
    }
