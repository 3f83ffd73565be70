"""A change ends within the time the lease is held for; nothing lies between the last checks and the send."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from services.provisioner.driver import AssignmentKey, DriverError, DriverProblem
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import Instance
from simulator.server import Simulator
from tests.support.aws import (
    CREDENTIALS,
    REGION,
    Turns,
    adapter,
    assignment_key,
    operations,
    simulated_aws,
)

USER = "906709c9-1111-4222-8333-444455556666"
SET = "arn:aws:sso:::permissionSet/ssoins-0123456789abcdef/ps-0123456789abcdef"


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    async with simulated_aws() as aws:
        yield aws


@pytest.fixture
async def centre(aws: Simulator) -> AsyncIterator[IdentityCenter]:
    async with adapter(aws) as centre:
        yield centre


@pytest.mark.parametrize("call", ["create", "delete"])
async def test_a_change_whose_answer_drips_is_given_up_in_time_and_may_have_been_taken(call: str) -> None:
    """The SDK's own time-out counts from the last byte, and never comes."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _byte in range(40):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with IdentityCenter(
            region=REGION, endpoint=endpoint, credentials=CREDENTIALS, change_timeout_s=0.3
        ) as centre:
            centre._instance = Instance("arn:aws:sso:::instance/ssoins-0123456789abcdef", "d-0123456789")
            mutating: Any = getattr(centre, call)
            began = time.monotonic()
            with pytest.raises(DriverError) as raised:
                await mutating(AssignmentKey(USER, "111111111111", SET))
    assert time.monotonic() - began < 3
    assert (raised.value.problem, raised.value.ambiguous) == (DriverProblem.TRANSIENT, True)


class NoMoreLease(Exception):
    pass


@dataclass
class RunsOut(Turns):
    """A limiter that lets so many checks pass."""

    checks: int = 0

    def check(self, *, changes: bool) -> None:
        self.checks -= changes
        if self.checks < 0:
            raise NoMoreLease


@pytest.mark.parametrize("call", ["create", "delete"])
@pytest.mark.parametrize(("checks", "sent"), [(0, 0), (1, 0), (2, 0), (3, 1)])
async def test_a_change_is_checked_before_it_is_signed_once_it_is_and_when_it_is_written(
    aws: Simulator, call: str, checks: int, sent: int
) -> None:
    """Fails where a process that was stopped meanwhile sends what was allowed before."""
    async with adapter(aws, limiter=RunsOut(checks=checks)) as centre:
        change: Any = getattr(centre, call)
        with contextlib.suppress(NoMoreLease, DriverError):
            await change(assignment_key(aws))
    assert sum(name.endswith("AccountAssignment") for name in operations(aws)) == sent


async def test_credentials_are_fresh_before_the_last_checks(aws: Simulator, centre: IdentityCenter) -> None:
    """A role's are fetched over the network: that may take longer than the lease lasts."""
    key = assignment_key(aws)
    await centre.instance()
    order: list[str] = []
    session: Any = centre._calls._session
    get = session.get_credentials

    async def slowly() -> Any:
        order.append("credentials")
        return await get()

    async def confirm() -> None:
        order.append("checks")

    session.get_credentials = slowly
    await centre.create(key, confirm=confirm)
    assert order == ["credentials", "checks"]
