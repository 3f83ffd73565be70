"""The pool's connections: what they plan holds when tables have grown."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.database.pool import Pool, create_pool
from tests.support.servers import fresh_database


@pytest.fixture
async def pool(admin_dsn: str) -> AsyncIterator[Pool]:
    async with fresh_database(admin_dsn) as dsn:
        made = await create_pool(dsn, size=1)
        yield made
        await made.close()


async def test_what_was_planned_for_an_empty_table_does_not_read_all_of_it_later(pool: Pool) -> None:
    """In PostgreSQL's own way the list is joined by a reading of the whole table, believed to be small."""
    wanted = "SELECT count(*) FROM unnest($1::bigint[]) AS one (id) JOIN thing USING (id)"
    async with pool.acquire() as conn:
        await conn.execute("CREATE TABLE thing (id bigint PRIMARY KEY) WITH (autovacuum_enabled = off)")
        await conn.execute("ANALYZE thing")
        assert await conn.fetchval(wanted, [1, 2]) == 0
        await conn.execute("INSERT INTO thing SELECT generate_series(1, 5000)")
        async with conn.transaction():
            assert await conn.fetchval(wanted, [1, 2]) == 2
            assert await _read_in_sequence(conn) == 0


async def _read_in_sequence(conn: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> int:
    found: int = await conn.fetchval(
        "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'thing'"
    )
    return found
