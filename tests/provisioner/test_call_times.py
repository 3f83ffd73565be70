"""A call ends within the time the lease is held for; nothing lies between the last checks and the send."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.provisioner.driver import AssignmentKey, DriverError, DriverProblem
from services.provisioner.identity_center import calls
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import Instance
from services.provisioner.settings import ProvisionerSettings
from simulator.server import Simulator
from tests.support.aws import CREDENTIALS, REGION, adapter, assignment_key, simulated_aws

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


def test_the_lease_is_held_for_the_longest_call() -> None:
    assert ProvisionerSettings.model_fields["call_timeout_s"].default >= calls.LONGEST_CALL_S


@pytest.mark.parametrize("call", ["create", "delete"])
async def test_a_call_whose_answer_drips_is_given_up_in_time_and_may_have_been_taken(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own time-out counts from the last byte, and never comes."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _byte in range(40):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    monkeypatch.setattr(calls, "LONGEST_CALL_S", 0.3)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with IdentityCenter(region=REGION, endpoint=endpoint, credentials=CREDENTIALS) as centre:
            centre._instance = Instance("arn:aws:sso:::instance/ssoins-0123456789abcdef", "d-0123456789")
            mutating: Any = getattr(centre, call)
            began = time.monotonic()
            with pytest.raises(DriverError) as raised:
                await mutating(AssignmentKey(USER, "111111111111", SET))
    assert time.monotonic() - began < 3
    assert (raised.value.problem, raised.value.ambiguous) == (DriverProblem.TRANSIENT, True)


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
