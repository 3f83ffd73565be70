"""One transaction with what follows its commit: commands work in it, a route or a consumer opens it.

Nothing that is noted here happens unless the transaction commits; a rollback forgets all of it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shared.contracts.change import Alert
from shared.database.pool import Conn, Pool, transaction
from shared.observability.alerts import Alerts

Hook = Callable[[], None]


class UnitOfWork:
    """What a command is given. It never commits; who opened the unit does, by leaving it without an error."""

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self.alerts: list[Alert] = []
        self.over: list[str] = []
        self.hooks: list[Hook] = []

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


@asynccontextmanager
async def unit_of_work(pool: Pool, alerts: Alerts) -> AsyncIterator[UnitOfWork]:
    """Commits at the end, then runs the hooks and raises the alerts; rolls back on any error."""
    async with transaction(pool) as conn:
        work = UnitOfWork(conn)
        yield work
    for hook in work.hooks:
        hook()
    for key in work.over:
        await alerts.clear(key)
    for alert in work.alerts:
        await alerts.raise_alert(key=alert.key, summary=alert.summary, detail=alert.detail, once=alert.once)
