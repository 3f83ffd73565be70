from collections.abc import AsyncIterator

import pytest

from simulator.clock import ManualClock
from simulator.server import Simulator
from tests.simulator.aws import Aws


@pytest.fixture(scope="session")
async def served() -> AsyncIterator[Aws]:
    """One simulator with a clock that tests move; `aws` begins it anew for each test."""
    clock = ManualClock()
    async with Simulator(clock=clock).serve() as simulator:
        aws = Aws(simulator, clock)
        yield aws
        aws.close()


@pytest.fixture
def aws(served: Aws) -> Aws:
    """The shipped organisation untouched, operations of 2 to 4 virtual seconds, no rate limit."""
    served.simulator.reset()
    served.simulator.change_settings(rate_per_second={})
    return served
