"""One running stack for all e2e tests of a session; tests that stop it start their own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.running import Running
from tests.support.stack import data_folder, running_stack


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[Running]:
    """The five services, seeded and ready. Tests take accounts that no other test uses."""
    with data_folder() as data:
        async with running_stack(data) as made:
            yield made
