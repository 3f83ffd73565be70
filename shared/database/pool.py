"""PostgreSQL: the pool, and the one way to open a transaction.

A service runs as an app role that owns no tables; what its schema is, is in shared/database/schema.py.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Conn: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # asyncpg's classes are generic in their stubs only
    Pool = asyncpg.Pool
    Conn = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

LOST_DATABASE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that is cut while it answers: "cannot switch to state"
)
"""What asyncpg raises when the server is gone, going, full or blocked, and the network below it."""


async def create_pool(dsn: str, *, size: int, backends: set[int] | None = None) -> Pool:
    """A pool whose connections read and write jsonb as Python values and never run a statement for ever.

    `backends` is kept to the process ids of the server's side of its connections.
    """

    async def init(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        await _register_json(conn)
        if backends is not None:
            pid = conn.get_server_pid()
            backends.add(pid)
            conn.add_termination_listener(lambda _conn: backends.discard(pid))

    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        init=init,
        reset=_leave_as_it_is,
        command_timeout=30,
        server_settings={
            "application_name": "jit",
            "lock_timeout": "10s",
            "timezone": "UTC",
            # Planning anew for each list of ids took a third of the database's time. One plan has to fit all
            # values then: a filter that may be left out is not in the text (filters.py).
            "plan_cache_mode": "force_generic_plan",
            # A plan is made while its table is empty, and kept: the whole table would be read for each row
            # that is looked for, until the server has counted it anew. Everything here has an index.
            "enable_seqscan": "off",
            # A page is taken for a tenth of its table, and compiling for that many rows takes far longer than
            # reading those that there are.
            "jit": "off",
            # A process that is frozen inside a transaction must not keep its locks: the lease is among them.
            "idle_in_transaction_session_timeout": "15s",
        },
    )


async def _register_json(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _leave_as_it_is(_conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nothing outlives a transaction here: no SET, session lock, cursor or LISTEN.

    asyncpg rolls back what was left open before it asks this. Its own reset was a third of all statements.
    """


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Conn]:
    """One command, one transaction: commits at the end, rolls back on any error."""
    async with pool.acquire() as conn, conn.transaction():
        yield conn
