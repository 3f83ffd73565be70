"""Claims and what came about them are forgotten when long over; what may still be in AWS never is."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.provisioner.store.retention import KEEP_CONFLICTS, rules
from shared.database.pool import Pool
from shared.database.retention import purge
from tests.support.harness import NOW
from tests.support.provisioner_lab import Lab

KEEP = timedelta(days=400)
MOMENT = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=1000)
"""The database deletes nothing that is young by its own clock."""
RULES = rules(keep=KEEP)
TABLES = ("claim", "extension", "witness", "stop", "assignment")


@pytest.fixture
def pool(lab: Lab) -> Pool:
    return lab.context.pool


async def claimed(pool: Pool) -> None:
    """A claim that is over since LONG_AGO, with a row in every table, all of it as old."""
    assignment = await assigned(pool)
    await pool.execute(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id,
            extension_id, user_id, account_id, set_id, set_digest, content_hash, session_duration, starts_at,
            ends_at, state, received_at, ended_at, credentials_until)
        VALUES ('g', $1, 'default', 'ticket', 'target', 1, 'subject', 'extension', 'u', '1', 'ps', 'd', 'h',
            '1h', $2::timestamptz - interval '1 hour', $2, 'revoked', $2, $2, $2)
        """,
        assignment, LONG_AGO,
    )  # fmt: skip
    await pool.execute(
        """
        INSERT INTO extension (subject_id, grant_id, ticket_id, target_id, revision, instance, user_id,
            account_id, set_id, ended_before, starts_at, ends_at, content_hash, requester, state, received_at,
            next_at, decided_at)
        VALUES ('extension', 'g', 'ticket', 'target', 1, 'default', 'u', '1', 'ps', $1,
            $1::timestamptz - interval '1 hour', $1, 'h', 'u', 'extended', $1, $1, $1)
        """,
        LONG_AGO,
    )
    await witnessed(pool, "subject")
    await stopped(pool, "ticket")


async def assigned(pool: Pool, *, ours: bool = True, closed_at: datetime | None = LONG_AGO) -> int:
    found: int = await pool.fetchval(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id, observed, ours, closed_at)
        VALUES ('default', 'u', '1', 'ps', 'absent', $1, $2) RETURNING id
        """,
        ours,
        closed_at,
    )
    return found


async def witnessed(pool: Pool, subject: str) -> None:
    await pool.execute(
        """
        INSERT INTO witness (subject_kind, subject_id, ticket_id, content_hash, event_id, received_at, votes,
            revisions, approved_at)
        VALUES ('target', $1, 'ticket', 'h', 'e', $2, '[]', '{}', $2)
        """,
        subject,
        LONG_AGO,
    )


async def stopped(pool: Pool, stopped_id: str) -> None:
    await pool.execute(
        """
        INSERT INTO stop (id, cause, actor, why, stopped_at, until)
        VALUES ($1, 'terminated', '{}', 'w', $2, $3)
        """,
        stopped_id,
        LONG_AGO,
        LONG_AGO + KEEP + MOMENT,
    )


async def left(pool: Pool) -> dict[str, int]:
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_a_claim_goes_with_all_about_it_just_after_the_limit_and_not_at_it(pool: Pool) -> None:
    await claimed(pool)
    for early in (-MOMENT, timedelta(0)):
        assert await purge(pool, RULES, now=LONG_AGO + KEEP + early) == 0
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert await left(pool) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        *(("claim", "state", state) for state in ("waiting", "scheduled", "granting", "active", "revoking")),
        *(("claim", column, LONG_AGO + MOMENT) for column in ("ends_at", "ended_at", "credentials_until")),
        ("extension", "state", "waiting"),
    ],
)
async def test_a_claim_that_is_not_long_over_keeps_all_about_it(
    pool: Pool, table: str, column: str, value: Any
) -> None:
    await claimed(pool)
    await pool.execute(f"UPDATE {table} SET {column} = $1", value)
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert await left(pool) == {**dict.fromkeys(TABLES, 1), "stop": 0}, "a stop goes by its own time"


@pytest.mark.parametrize("witness", ["subject", "extension"])
async def test_what_vouches_for_a_claim_that_is_kept_is_kept(pool: Pool, witness: str) -> None:
    """A claim whose end was extended has a witness by the extension's id, as long as the claim itself."""
    await claimed(pool)
    await pool.execute("DELETE FROM witness; DELETE FROM extension; UPDATE claim SET state = 'active'")
    await witnessed(pool, witness)
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert (await left(pool))["witness"] == 1


async def test_a_witness_and_a_stop_of_nothing_go_by_their_own_age(pool: Pool) -> None:
    """They came first, and what they were about never came."""
    await witnessed(pool, "nothing")
    await stopped(pool, "nothing")
    await purge(pool, RULES, now=LONG_AGO + KEEP)
    assert (await left(pool))["witness"] == (await left(pool))["stop"] == 1
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert (await left(pool))["witness"] == (await left(pool))["stop"] == 0


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("closed_at", LONG_AGO, 0),
        ("closed_at", LONG_AGO + MOMENT, 1),
        ("closed_at", None, 1),
        ("next_at", LONG_AGO, 1),
        ("desired", "present", 1),
    ],
)
async def test_an_assignment_of_ours_is_forgotten_only_long_after_it_was_seen_gone(
    pool: Pool, column: str, value: Any, kept: int
) -> None:
    await assigned(pool)
    await pool.execute(f"UPDATE assignment SET {column} = $1", value)
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert (await left(pool))["assignment"] == kept


async def test_an_assignment_with_an_operation_in_flight_is_never_old(pool: Pool) -> None:
    await assigned(pool)
    await pool.execute("UPDATE assignment SET op_kind = 'delete', op_started = $1", LONG_AGO)
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert (await left(pool))["assignment"] == 1


async def test_an_assignment_that_was_never_ours_goes_with_its_last_claim(pool: Pool) -> None:
    await assigned(pool, ours=False, closed_at=None)
    await purge(pool, RULES, now=LONG_AGO)
    assert (await left(pool))["assignment"] == 0


async def test_a_conflict_of_sign_ins_goes_just_after_the_limit_and_not_at_it(pool: Pool) -> None:
    await pool.execute(
        """
        INSERT INTO binding_conflict (id, iss, sub, user_id, bound_sub, lookup, lookup_value,
            external_id_issuer, proof, found_at)
        VALUES (gen_random_uuid(), 'i', 's', 'u', 't', 'user_name', 'ann', '', 'p', $1)
        """,
        LONG_AGO,
    )
    await purge(pool, RULES, now=LONG_AGO + KEEP_CONFLICTS)
    assert await pool.fetchval("SELECT count(*) FROM binding_conflict") == 1
    await purge(pool, RULES, now=LONG_AGO + KEEP_CONFLICTS + MOMENT)
    assert await pool.fetchval("SELECT count(*) FROM binding_conflict") == 0
