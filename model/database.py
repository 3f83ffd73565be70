"""The real database behind a pool that stops before each transaction, and may lose a commit.

One connection: a transaction is one turn, begun and committed without anybody in between. What is read
outside of transactions stops before each statement.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from model.turns import ABOUT, PROCESS, Killed, Turns
from shared.database.pool import _register_json

SETTINGS = {
    "timezone": "UTC",
    "lock_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "synchronous_commit": "off",
}
"""As shared/database/pool.py has them, but that nothing here has to outlive a power cut."""
OF_A_COMMIT = ("crash", "crash_after", "refused", "lost")
OF_A_BEGINNING = ("after", "hold:3", "freeze:25")
OF_ANOTHER_BEGINNING: Mapping[str, tuple[str, ...]] = {
    "background._report_pause": (),
    "background._fail_unwitnessed": ("after",),
}
"""All the time, and seldom anything comes of it; the process stands still at other places of that moment."""
OF_A_READING: tuple[str, ...] = ("after",)
Committed = Callable[[], Awaitable[None]]


async def connect(dsn: str) -> Any:
    """A connection like the product's, without timers of its own."""
    conn = await asyncpg.connect(dsn, server_settings=SETTINGS, max_cached_statement_lifetime=0)
    await _register_json(conn)
    return conn


class ModelPool:
    """What the product takes for its pool. `committed` is awaited after each commit that wrote rows."""

    def __init__(self, inner: Any, turns: Turns) -> None:
        self.inner = inner
        self.turns = turns
        self.committed: Committed = _nothing
        self.of_a_reading = OF_A_READING

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["ModelConnection"]:
        yield ModelConnection(self)


class ModelConnection:
    """One task's view of the connection."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._turns = pool.turns
        self.transaction_of: ModelTransaction | None = None
        self.touched = False
        self.wrote = False
        """Something besides the lease, which is renewed all the time."""
        self.said = False
        """Facts are among what it wrote."""

    def transaction(self) -> "ModelTransaction":
        return ModelTransaction(self, self._pool)

    async def execute(self, query: str, *args: Any) -> Any:
        return await self._run("execute", query, args)

    async def fetch(self, query: str, *args: Any) -> Any:
        return await self._run("fetch", query, args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        return await self._run("fetchrow", query, args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self._run("fetchval", query, args)

    async def _run(self, method: str, query: str, args: tuple[Any, ...]) -> Any:
        if self.transaction_of is None:
            where = _where()
            options = () if where == "lease.renew" else self._pool.of_a_reading
            await self._turns.park(f"{PROCESS.get()} read in {where}", *options)
        elif not query.lstrip(" \n(").startswith(("SELECT", "SET")):
            await self._note_change(query)
        with self._turns.io():
            return await getattr(self._pool.inner, method)(query, *args)

    async def _note_change(self, query: str) -> None:
        self.touched = True
        if "UPDATE lease" not in query:
            self.wrote = True
            self.said = self.said or "INTO outbox" in query
            assert self.transaction_of is not None, "outside of transactions nothing is written"
            await self.transaction_of.begin()


class ModelTransaction:
    """Begun in PostgreSQL with the first change: nobody else is there who could change what was read before.

    The lease is renewed without: that is one statement.
    """

    def __init__(self, conn: ModelConnection, pool: ModelPool) -> None:
        self._conn = conn
        self._pool = pool
        self._turns = pool.turns
        self._inner: Any = None
        self._where = _where()

    async def __aenter__(self) -> None:
        who = PROCESS.get()
        options = OF_ANOTHER_BEGINNING.get(self._where, OF_A_BEGINNING)
        await self._turns.park(f"{who} begins {self._where}", *options)
        if self._turns.exclusive:
            raise RuntimeError(f"{who} begins {self._where} inside another transaction")
        self._turns.exclusive = who
        self._conn.transaction_of = self
        self._conn.touched = self._conn.wrote = self._conn.said = False

    async def begin(self) -> None:
        if self._inner is None:
            with self._turns.io():
                self._inner = self._pool.inner.transaction()
                await self._inner.start()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        who = PROCESS.get()
        dead = who in self._turns.dead
        choice = None
        if kind is None and self._conn.wrote and not dead:
            choice = self._turns.decide(f"{who} commits {self._where}", *OF_A_COMMIT)
        await self._end(commits=kind is None and not dead and choice not in {"crash", "refused"})
        if choice in {"crash", "crash_after"}:
            self._turns.kill(who)
            raise Killed(self._where)
        if choice in {"refused", "lost"}:
            raise asyncpg.ConnectionDoesNotExistError(f"{choice} in {self._where}")

    async def _end(self, *, commits: bool) -> None:
        try:
            with self._turns.io():
                if self._inner is not None:
                    await (self._inner.commit() if commits else self._inner.rollback())
                if commits and self._conn.touched:
                    self._turns.note_effect()
                if commits and self._conn.said:
                    await self._pool.committed()
        finally:
            self._turns.exclusive = None
            self._conn.transaction_of = None


async def _nothing() -> None:
    pass


def _where() -> str:
    """What is worked on, or the function of the product on whose behalf this is, as `visit._decide`."""
    if about := ABOUT.get():
        return about
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        _, found, inside = path.rpartition("/services/provisioner/")
        if found and not inside.startswith(("store/", "domain/")) and "parts.py" not in inside:
            return f"{inside.rpartition('/')[2].removesuffix('.py')}.{frame.f_code.co_name}"
        back = frame.f_back
        if back is None:
            break
        frame = back
    return "somewhere"
