"""What is asked of the database, statement by statement: each is a way there and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from shared.database.pool import Pool


@asynccontextmanager
async def statements(pool: Pool) -> AsyncIterator[list[str]]:
    """The statements sent meanwhile on any connection of the pool, BEGIN and COMMIT too; each in one line.

    Nothing may hold a connection when this begins.
    """
    seen: list[str] = []
    async with AsyncExitStack() as logging:
        await _log_all(logging, pool, lambda record: seen.append(" ".join(record.query.split())))
        yield seen
        await asyncio.sleep(0)  # each is noted one turn after its answer


async def _log_all(logging: AsyncExitStack, pool: Pool, note: Callable[[Any], None]) -> None:
    async with AsyncExitStack() as held:
        for _ in range(pool.get_max_size()):
            conn = await held.enter_async_context(pool.acquire())
            logging.enter_context(conn.query_logger(note))
