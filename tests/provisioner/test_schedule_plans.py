"""What the loops ask of a large table every second walks an index and stops: its cost does not grow."""

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.provisioner.store import assignments, extensions, schedule
from tests.support.harness import NOW, service_database
from tests.support.plans import plan_of

MANY = 20_000
Asked = Callable[[Any, datetime], Coroutine[Any, Any, Any]]
QUERIES: dict[str, Asked] = {
    "due_assignments": lambda conn, now: schedule.due_assignments(conn, now=now),
    "next_due": lambda conn, _: schedule.next_due(conn),
    "in_flight": lambda conn, _: schedule.in_flight(conn),
    "lock_ended": lambda conn, now: schedule.lock_ended(conn, now=now),
    "next_end": lambda conn, _: schedule.next_end(conn),
    "unwitnessed": lambda conn, now: schedule.unwitnessed(conn, received_before=now),
    "overdue": lambda conn, now: schedule.overdue(conn, ended_before=now),
    "due_tickets": lambda conn, now: extensions.due_tickets(conn, now=now),
    "load": lambda conn, _: assignments.load(conn, [1, 2, 3]),
}


_ASSIGNMENTS = """
    INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, desired, observed, ours, next_at,
        op_kind, op_started)
    SELECT 'default', 'user-' || n, 'account-' || n % 500, 'ps-1', 'arn', 'present', 'present', true,
        CASE WHEN n % 2000 = 0 THEN $2 ELSE $2 + n * interval '1 s' END,
        CASE WHEN n % 4000 = 1 THEN 'delete' END, CASE WHEN n % 4000 = 1 THEN $2 END
    FROM generate_series(1, $1::int) AS n, (SELECT $2::timestamptz) AS at
"""
_CLAIMS = """
    INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
        account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
        received_at, ended_at)
    SELECT 'claim-' || id, id, 'default', 'ticket-' || id, 'target', 1, 'subject-' || id, user_id,
        account_id, set_id, 'd', 'h', interval '1 hour', $1, $1 + id * interval '1 s',
        CASE WHEN id % 2000 = 0 THEN 'revoking' WHEN id % 4000 = 7 THEN 'waiting' ELSE 'active' END,
        $1, CASE WHEN id % 2000 = 0 THEN $1 END
    FROM assignment, (SELECT $1::timestamptz) AS at
"""


class Recorder:
    """A connection that notes what it is asked, and answers."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    async def execute(self, text: str, *values: Any) -> Any:
        return await self.conn.execute(text, *values)

    async def fetch(self, text: str, *values: Any) -> Any:
        self.asked.append((text, values))
        return await self.conn.fetch(text, *values)

    async def fetchval(self, text: str, *values: Any) -> Any:
        self.asked.append((text, values))
        return await self.conn.fetchval(text, *values)


@pytest.fixture(scope="module")
async def filled(admin_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Live claims without number; a few are due, ended or in flight."""
    async with service_database(admin_dsn, "provisioner") as dsn:
        conn = await asyncpg.connect(urlsplit(admin_dsn)._replace(path=urlsplit(dsn).path).geturl())
        await conn.execute(_ASSIGNMENTS, MANY, NOW)
        await conn.execute(_CLAIMS, NOW)
        await conn.execute("ANALYZE assignment; ANALYZE claim")
        await conn.execute("SET enable_seqscan = off")  # as on the services' connections
        yield conn
        await conn.close()


@pytest.mark.parametrize("name", QUERIES)
async def test_a_loop_reads_no_table_whole(filled: asyncpg.Connection, name: str) -> None:
    asked = Recorder(filled)
    await QUERIES[name](asked, NOW)
    assert asked.asked
    for text, values in asked.asked:
        plan = await plan_of(filled, text, *values)
        assert "Seq Scan on assignment" not in plan, plan
        assert "Seq Scan on claim" not in plan, plan
