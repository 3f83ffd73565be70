"""One running stack for all e2e tests of a process; tests that stop it start their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running import Running
from tests.support.stack import data_folder, running_stack
from tests.support.together import together

FOLDER = Path(__file__).parent
TIMEOUT_S = 240
"""Tests that begin together wait together, and for longer on a loaded machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == FOLDER and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="package")
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The five services, seeded and ready. Tests take accounts that no other test uses.

    What mostly waits begins as soon as they are ready, whichever test is the first.
    Stopped with the last e2e test: five idle services cost what others could use.
    """
    with data_folder() as data:
        async with running_stack(data) as made:
            together.begin(made, request.session.items)
            yield made
