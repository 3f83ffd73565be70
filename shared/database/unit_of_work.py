"""One transaction with what follows its commit: commands work in it, a route or a consumer opens it.

Nothing that is noted here happens unless the transaction commits; a rollback forgets all of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from shared.contracts.change import Alert
from shared.database.pool import Conn, Pool, transaction
from shared.observability.alerts import Alerts

HeldT = TypeVar("HeldT")
Hook = Callable[[], None]
Write = Callable[["UnitOfWork", Sequence[Any]], Awaitable[None]]
"""Writes rows of one kind in one statement; it may collect rows of another kind."""


def _nobody() -> None:
    """Nobody sends what is collected in this process."""


class UnitOfWork:
    """What a command is given. It never commits; who opened the unit does, by leaving it without an error."""

    def __init__(self, conn: Conn, *, wake_relay: Hook = _nobody) -> None:
        self.conn = conn
        self.wake_relay = wake_relay
        self.alerts: list[Alert] = []
        self.over: list[str] = []
        self.hooks: list[Hook] = []
        self._collected: dict[Write, list[Any]] = {}
        self._held: dict[type[Any], dict[str, Any]] = {}

    def alert(self, *alerts: Alert) -> None:
        """Raise these once the transaction has committed."""
        self.alerts += alerts

    def clear(self, *keys: str) -> None:
        """The causes of these alerts are gone once the transaction has committed."""
        self.over += keys

    def after_commit(self, hook: Hook) -> None:
        """Run this once the transaction has committed; the same hook runs once."""
        if hook not in self.hooks:
            self.hooks.append(hook)

    def held(self, kind: type[HeldT]) -> dict[str, HeldT]:
        """What a store has locked in this unit, by id: several commands then read and write it once.

        Who reads such rows otherwise sees them as they were before the unit.
        """
        return self._held.setdefault(kind, {})

    def collect(self, write: Write, row: Any) -> None:
        """Write this row right before the commit, with all others of its kind, in the order of collecting.

        Locks that the caller holds are still held then.
        """
        self._collected.setdefault(write, []).append(row)

    async def write_collected(self) -> None:
        """Done by who opened the unit, as the last thing before the commit."""
        while self._collected:
            write = next(iter(self._collected))
            await write(self, self._collected.pop(write))


@asynccontextmanager
async def unit_of_work(
    pool: Pool, alerts: Alerts, *, wake_relay: Hook = _nobody
) -> AsyncIterator[UnitOfWork]:
    """Commits at the end, then runs the hooks and raises the alerts; rolls back on any error."""
    async with transaction(pool) as conn:
        work = UnitOfWork(conn, wake_relay=wake_relay)
        yield work
        await work.write_collected()
    for hook in work.hooks:
        hook()
    for key in work.over:
        await alerts.clear(key)
    for alert in work.alerts:
        await alerts.raise_alert(key=alert.key, summary=alert.summary, detail=alert.detail, once=alert.once)
