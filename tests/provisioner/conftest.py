from collections.abc import AsyncIterator

import pytest

from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.inventory.sync import InventorySync
from shared.context import Context
from simulator.server import Simulator
from tests.support.aws import adapter, shrink, simulated_aws
from tests.support.harness import service_database
from tests.support.inventory import provisioner_context
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


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    """A small organisation, for what reads the inventory."""
    async with simulated_aws() as simulator:
        shrink(simulator)
        yield simulator


@pytest.fixture
async def centre(aws: Simulator) -> AsyncIterator[IdentityCenter]:
    async with adapter(aws) as centre:
        yield centre


@pytest.fixture
def sync(centre: IdentityCenter) -> InventorySync:
    return InventorySync(centre)


@pytest.fixture(scope="session")
async def dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "provisioner") as dsn:
        yield dsn


@pytest.fixture
async def context(admin_dsn: str, dsn: str) -> AsyncIterator[Context]:
    """A provisioner without documents."""
    async with provisioner_context(admin_dsn, dsn) as context:
        yield context
