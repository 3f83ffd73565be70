"""One running stack for all e2e tests of a session; tests that stop it start their own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.running import Running
from tests.support.stack import running_stack


@pytest.fixture(scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The five services, seeded and ready. Tests take accounts that no other test uses."""
    async with running_stack(tmp_path_factory.mktemp("stack")) as made:
        yield made
