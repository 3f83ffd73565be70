"""AWS for tests of the provisioner: the simulator in process, and the real adapter pointed at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.provisioner.driver import AssignmentKey
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.identity_center.types import Credentials, IdentityCenterError, Limiter
from simulator.clock import ManualClock
from simulator.server import Simulator
from simulator.settings import Settings

CREDENTIALS = Credentials("AKIDEXAMPLE", "made-up")
REGION = "eu-central-1"
PRODUCTS = frozenset({"orders", "payments", "loyalty", "old"})
PERMISSION_SETS = frozenset(
    {"ReadOnly", "Administrator", "Developer", "Billing", "Auditor", "KeyAdmin", "Workplace", "BreakGlass"}
)


@asynccontextmanager
async def simulated_aws(**settings: Any) -> AsyncIterator[Simulator]:
    """The shipped organisation on a free port, its clock moved by hand, without rate limits unless given."""
    chosen = Settings.model_validate({"rate_per_second": {}} | settings)
    async with Simulator(clock=ManualClock(), settings=chosen).serve() as simulator:
        yield simulator


def shrink(aws: Simulator) -> None:
    """Leave of the shipped organisation what tests name: reading all of it takes 400 calls."""
    directory = aws.directory
    named = {"management", "identity", *(one.account for one in directory.delegated)}
    directory.accounts = {
        found.id: found
        for found in directory.accounts.values()
        if found.name.split("-")[0] in PRODUCTS or {found.name, found.id} & named
    }
    directory.permission_sets = {
        found.arn: found for found in directory.permission_sets.values() if found.name in PERMISSION_SETS
    }


@dataclass
class Turns:
    """A limiter that lets everything through at once and notes what it was asked for."""

    asked: list[str] = field(default_factory=list)
    """Priorities, in order."""
    services: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Services of which it was told that they throttle."""

    async def __call__(self, priority: str, service: str) -> None:
        self.asked.append(priority)
        self.services.append(service)

    def check(self, *, changes: bool) -> None:
        """Whoever asks may send."""

    def throttled(self, service: str) -> None:
        self.told.append(service)


@asynccontextmanager
async def adapter(simulator: Simulator, *, limiter: Limiter = unlimited) -> AsyncIterator[IdentityCenter]:
    async with IdentityCenter(
        region=REGION, endpoint=simulator.url, credentials=CREDENTIALS, limiter=limiter
    ) as centre:
        yield centre


def operations(simulator: Simulator) -> list[str]:
    """The calls that came in, in order."""
    return [record["operation"] for record in simulator.records.calls]


def assignment_key(aws: Simulator, *, user: str = "ann", account: str = "orders-prod") -> AssignmentKey:
    """A demo person with Administrator on an account of the shipped organisation."""
    return AssignmentKey(
        aws.directory.find_user(user).id,
        aws.directory.find_account(account).id,
        aws.directory.find_set("Administrator").arn,
    )


def finish(aws: Simulator) -> None:
    """Let every asynchronous request of the simulator end."""
    clock = aws.clock
    assert isinstance(clock, ManualClock)
    clock.advance(60)


async def failure(call: Any) -> IdentityCenterError:
    with pytest.raises(IdentityCenterError) as caught:
        await call
    return caught.value
