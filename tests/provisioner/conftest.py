from collections.abc import AsyncIterator

import pytest

from tests.support.harness import service_database
from tests.support.provisioner_lab import Lab, Premises, laboratory, premises


@pytest.fixture(scope="session")
async def shared_premises(admin_dsn: str) -> AsyncIterator[Premises]:
    async with service_database(admin_dsn, "provisioner") as dsn, premises(admin_dsn, dsn) as shared:
        yield shared


@pytest.fixture
async def lab(shared_premises: Premises) -> AsyncIterator[Lab]:
    """A provisioner on an emptied database and a fresh simulated organisation, in virtual time."""
    async with laboratory(shared_premises) as lab:
        yield lab
