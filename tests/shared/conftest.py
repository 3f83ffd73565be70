"""One database of the ticket service for the whole folder, emptied before each test that asks for it."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.database.pool import Pool, create_pool
from tests.support.corridor import effect_database

_EMPTY = """
    SET session_replication_role = replica; -- no triggers: they keep what is young
    DELETE FROM outbox; DELETE FROM inbox; DELETE FROM dead_letter; DELETE FROM document; DELETE FROM effect;
    DELETE FROM idempotency_key;
    UPDATE document_counter SET revision = 0, count = 0, digest = decode(repeat('00', 32), 'hex'),
        topic_revision = 0;
"""


@pytest.fixture(scope="session")
async def ticket_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with effect_database(admin_dsn, "ticket") as found:
        yield found


@pytest.fixture
async def dsn(admin_dsn: str, ticket_dsn: str) -> str:
    """The app role's DSN of a migrated database with the table of effects, all tables empty."""
    conn = await asyncpg.connect(admin_dsn, database=urlsplit(ticket_dsn).path.removeprefix("/"))
    await conn.execute(_EMPTY)
    await conn.close()
    return ticket_dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    opened = await create_pool(dsn, size=6)
    try:
        yield opened
    finally:
        await opened.close()
