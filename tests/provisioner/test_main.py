"""The wiring: what `build` puts together works in real time, and refuses what it must."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr, ValidationError

from services.provisioner.__main__ import assemble, build
from services.provisioner.settings import ProvisionerSettings
from shared.contracts import documents as doc
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process
from tests.support.harness import NOW, ready_tables
from tests.support.provisioner_lab import Lab, Premises, connected
from tests.support.signing import key_settings
from tests.support.waiting import until


def settings(**changes: object) -> ProvisionerSettings:
    given = {"database_url": SecretStr("postgresql://localhost/none"), "env": "development"}
    given |= {**key_settings("provisioner"), **changes}
    return ProvisionerSettings.model_validate(given)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"env": "production", "aws_endpoint": "http://127.0.0.1:1"}, "JIT_AWS_ENDPOINT"),
        ({"slots": 5, "grant_slots": 6}, "JIT_GRANT_SLOTS"),
        ({"lease_ttl_s": 10.9, "change_timeout_s": 10}, "JIT_LEASE_TTL_S"),
        ({"settle_checks": 1}, "settle_checks"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(changes: dict[str, object], names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        settings(**changes)


def test_settings_allow_the_simulator_in_development() -> None:
    assert settings(aws_endpoint="http://127.0.0.1:1").aws_endpoint


def test_settings_name_the_replica_by_host_and_port() -> None:
    assert settings(port=8081).replica_name.endswith(":8081")
    assert settings(replica="a").replica_name == "a"


def test_build_declares_every_route_and_topic() -> None:
    service = build(settings(), process=Process(ManualClock(NOW), ready_tables(ManualClock(NOW))))
    paths = set(service.app.openapi()["paths"])
    assert {
        "/v1/grants", "/v1/grants/{grant_id}", "/v1/revocations", "/v1/inventory", "/v1/inventory/sync",
        "/v1/inventory/confirm", "/v1/operations",
    } <= paths  # fmt: skip
    assert set(service.consumer.topics) == {"jit.ticket.v1", "jit.stop.v1", "jit.approval.v1"}


@pytest.fixture
async def running(lab: Lab, shared_premises: Premises) -> AsyncIterator[Lab]:
    """The lab with the real loops of another replica beside it."""
    replica = assemble(
        lab.context, lab.settings.model_copy(update={"replica": "two"}),
        identity_center=lambda _settings, limiter: connected(shared_premises.aws, limiter),
    )  # fmt: skip
    tasks = [asyncio.ensure_future(_as_task(run)) for _, run in replica.tasks(lab.context)]
    try:
        yield lab
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await replica.identity_center.close()


async def _as_task(run: object) -> None:
    await run()  # type: ignore[operator]


async def test_a_standby_is_ready_to_call_aws_before_it_takes_over(
    lab: Lab, shared_premises: Premises
) -> None:
    await lab.current.lease.renew()
    standby = assemble(
        lab.context, lab.settings.model_copy(update={"replica": "two"}),
        identity_center=lambda _settings, limiter: connected(shared_premises.aws, limiter),
    )  # fmt: skip
    keeping = asyncio.ensure_future(standby._keep_inventory(lab.context))
    calls = standby.identity_center._calls
    try:
        await until(lambda: calls._stack is not None, what="clients")
        assert not lab.aws.records.calls, "it has asked for nothing"
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await standby.identity_center.close()


async def test_loops_take_the_lease_and_read_the_inventory(running: Lab) -> None:
    pool = running.context.pool
    await until(
        lambda: pool.fetchval("SELECT count(*) FROM document WHERE kind = 'account'"), what="accounts stored"
    )
    assert await running.context.pool.fetchval("SELECT holder FROM lease") == "two"
    assert running.context.policy.known().get(doc.Account, running.account("orders-prod")) is not None
