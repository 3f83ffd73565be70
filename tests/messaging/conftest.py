"""One broker and one pair of databases for the module; keys are each test's own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.messaging.bus import Bus, Corridor, Databases, bus, corridor
from tests.support.corridor import effect_database


@pytest.fixture(scope="module")
def a_bus() -> Iterator[Bus]:
    with bus() as found:
        yield found


@pytest.fixture(scope="module")
async def databases(admin_dsn: str) -> AsyncIterator[Databases]:
    async with (
        effect_database(admin_dsn, "ticket") as ticket,
        effect_database(admin_dsn, "approval") as approval,
    ):
        yield Databases(admin_dsn, ticket, approval)


@pytest.fixture
async def road(a_bus: Bus, databases: Databases) -> AsyncIterator[Corridor]:
    async with corridor(a_bus, databases) as found:
        yield found
