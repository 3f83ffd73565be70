"""A ticket is forgotten whole, once everything about it has been over for long enough, and never before."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.ticket.store.retention import rules
from shared.database.pool import Pool
from shared.database.retention import purge
from shared.runtime.service import Service
from tests.support.harness import NOW, empty

KEEP = timedelta(days=400)
MOMENT = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=1000)
"""The database deletes nothing that is young by its own clock."""
RULES = rules(keep=KEEP)
TABLES = ("ticket", "ticket_party", "ticket_target", "target_revision", "ticket_grant", "ticket_extension")


@pytest.fixture
async def pool(service: Service, admin_dsn: str, ticket_dsn: str) -> Pool:
    """Without tickets of other tests."""
    await empty(admin_dsn, ticket_dsn, *TABLES)
    return service.context.pool


async def stored(
    pool: Pool, *, over: datetime = LONG_AGO, state: str = "closed", closed: bool = True
) -> UUID:
    """A ticket with a row in every table, all of it over at that moment."""
    ticket, target, grant = uuid4(), uuid4(), uuid4()
    async with pool.acquire() as conn:
        await conn.execute(
            """
            INSERT INTO ticket (id, instance, version, requester, requester_named, beneficiaries, description,
                submitted_at, state, closed_at, revisions)
            VALUES ($1, 'default', 3, 'user-ann', '{}', '[]', '{"reference": "CHG-1"}', $2, $3, $4, '{}')
            """,
            ticket, over, state, over if closed else None,
        )  # fmt: skip
        await conn.execute("INSERT INTO ticket_party VALUES ('user-ann', $1, true)", ticket)
        await conn.execute(
            "INSERT INTO ticket_target VALUES ($1, $2, 0, '111111111111', 'a', 'ps-1', 's', NULL, 1)",
            target, ticket,
        )  # fmt: skip
        await conn.execute(
            """
            INSERT INTO target_revision (target_id, revision, subject_id, set_digest, session_duration, asked,
                reason, submitted_at, expires_at, state, decided_at)
            VALUES ($1, 1, $2, 'd', '1h', '{}', 'a reason', $3, $3, 'approved', $3)
            """,
            target, uuid4(), over,
        )  # fmt: skip
        await conn.execute(
            """
            INSERT INTO ticket_grant (id, ticket_id, target_id, revision, position, instance, beneficiary,
                account_id, set_id, live, ends_at, state, detail, ended_at, kept_by, already_held,
                credentials_until)
            VALUES ($1, $2, $3, 1, 0, 'default', 'user-ann', '111111111111', 'ps-1', false, $4, 'revoked', '',
                $4, '{}', false, $4)
            """,
            grant, ticket, target, over,
        )  # fmt: skip
        await conn.execute(
            """
            INSERT INTO ticket_extension (id, ticket_id, position, target_id, revision, grants, requested_by,
                ends_at, reason, submitted_at, expires_at, state, decided_at)
            VALUES ($1, $2, 0, $3, 1, '{}', '{}', $4, 'longer', $4, $4, 'extended', $4)
            """,
            uuid4(), ticket, target, over,
        )  # fmt: skip
    return ticket


async def left(pool: Pool) -> dict[str, int]:
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_a_ticket_goes_whole_just_after_the_limit_and_not_at_it(pool: Pool) -> None:
    await stored(pool)
    await stored(pool, over=LONG_AGO + timedelta(days=1))
    assert await purge(pool, RULES, now=LONG_AGO + KEEP - MOMENT) == 0
    assert await purge(pool, RULES, now=LONG_AGO + KEEP) == 0
    assert await left(pool) == dict.fromkeys(TABLES, 2)
    assert await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT) == 1
    assert await left(pool) == dict.fromkeys(TABLES, 1)


async def test_a_ticket_that_nothing_was_granted_of_goes_too(pool: Pool) -> None:
    await stored(pool, state="rejected", closed=False)
    assert await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT) == 1


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("ticket", "times_out_at", LONG_AGO),
        ("ticket", "closes_at", LONG_AGO),
        ("ticket_grant", "live", True),
        *(
            (table, column, LONG_AGO + MOMENT)
            for table, column in (
                ("ticket", "submitted_at"),
                ("ticket", "closed_at"),
                ("ticket_grant", "ends_at"),
                ("ticket_grant", "ended_at"),
                ("ticket_grant", "credentials_until"),
                ("target_revision", "submitted_at"),
                ("target_revision", "decided_at"),
                ("ticket_extension", "submitted_at"),
                ("ticket_extension", "decided_at"),
            )
        ),
    ],
)
async def test_a_ticket_with_something_that_is_not_over_is_never_old(
    pool: Pool, table: str, column: str, value: Any
) -> None:
    await stored(pool)
    await pool.execute(f"UPDATE {table} SET {column} = $1", value)
    assert await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT) == 0


async def test_many_tickets_go_in_batches(pool: Pool) -> None:
    for _ in range(5):
        await stored(pool)
    assert await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT, batch=2) == 5
