"""A unit of work of a test's own, on any pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork, unit_of_work
from shared.foundation.clock import ManualClock
from shared.observability.alerts import Alerts
from tests.support.harness import NOW


@asynccontextmanager
async def unit(pool: Pool) -> AsyncIterator[UnitOfWork]:
    """Commits at the end what was done and collected in it; its alerts reach nobody."""
    nobody = Alerts(service="test", clock=ManualClock(NOW), channels=[])
    async with unit_of_work(pool, nobody) as work:
        yield work
