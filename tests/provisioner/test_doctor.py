"""What `jit doctor provisioner` says of AWS: refused reads, limits, the clock, an inventory that differs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cli.doctor import aws as checks
from cli.doctor.command import checks as checks_of
from cli.doctor.findings import Finding, Grade
from local.mailbox import Mailbox
from services.provisioner.identity_center.api_operations import OPERATIONS
from services.provisioner.identity_center.calls import Calls
from services.provisioner.identity_center.probes import Probes, probe
from services.provisioner.inventory.sync import InventorySync
from services.provisioner.settings import ProvisionerSettings
from shared.contracts.topics import TOPICS
from shared.foundation.settings import KafkaSettings, SmtpSettings
from simulator.server import Simulator
from simulator.settings import Settings
from tests.support.aws import CREDENTIALS, REGION, adapter, operations, shrink
from tests.support.harness import service_database
from tests.support.inventory import provisioner_context
from tests.support.servers import embedded_kafka
from tests.support.signing import key_settings

READS = sorted(one.name for one in OPERATIONS if not one.mutating)
"""`ListTagsForResource` is there twice: two services have it."""


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    """By the real clock, which its answers tell."""
    settings = Settings.model_validate({"rate_per_second": {}})
    async with Simulator(settings=settings).serve() as simulator:
        shrink(simulator)
        yield simulator


async def probed(aws: Simulator, *, instance_arn: str | None = None) -> Probes:
    calls = Calls(region=REGION, endpoint=aws.url, credentials=CREDENTIALS)
    try:
        return await probe(calls, instance_arn=instance_arn)
    finally:
        await calls.close()


def told(found: Any) -> list[tuple[str, str]]:
    return [(one.grade.value, one.found) for one in found]


# permissions


async def test_every_read_is_tried_once_and_nothing_is_changed(aws: Simulator) -> None:
    found = await probed(aws)
    assert sorted(operations(aws)) == READS
    assert told(checks.check_permissions(found)) == [
        ("ok", f"all {len(READS)} reads are allowed; assigning was not tried")
    ]


@pytest.mark.parametrize("operation", sorted(set(READS)))
async def test_read_that_is_refused_is_named(aws: Simulator, operation: str) -> None:
    aws.fault(operation=operation, kind="error", code="AccessDeniedException", message="not authorized")
    found = list(checks.check_permissions(await probed(aws)))
    wanted = {f"{one.action} is refused" for one in OPERATIONS if one.name == operation}
    assert ({one.grade for one in found}, {one.found for one in found}) == ({Grade.FAIL}, wanted)


async def test_read_that_fails_otherwise_says_how(aws: Simulator) -> None:
    aws.fault(operation="ListGroups", kind="error", code="ThrottlingException", message="Rate exceeded")
    [found] = checks.check_permissions(await probed(aws))
    assert found.grade is Grade.FAIL
    assert found.found.startswith("identitystore:ListGroups failed: ")


async def test_instance_that_is_not_there_leaves_reads_untried(aws: Simulator) -> None:
    [found] = checks.check_permissions(await probed(aws, instance_arn="arn:aws:sso:::instance/ssoins-0"))
    assert found.grade is Grade.WARN
    assert "AWS showed no instance, store" in found.found


# limits


def settings_of(**given: Any) -> ProvisionerSettings:
    fields = {
        "env": "development", "database_url": SecretStr("postgresql://127.0.0.1:1/none"),
        "aws_region": REGION, **key_settings("provisioner"),
    }  # fmt: skip
    return ProvisionerSettings(**(fields | given))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("ok", "18 calls a second, 10 slots, 7 of them for grants")]),
        ({"calls_per_second": 20}, [("ok", "20 calls a second, 10 slots, 7 of them for grants")]),
        ({"calls_per_second": 20.5}, [("warn", "JIT_CALLS_PER_SECOND is 20.5 a second, and AWS takes 20")]),
        ({"calls_per_second": None}, [("warn", "JIT_CALLS_PER_SECOND is no limit, and AWS takes 20")]),
        ({"slots": 11}, [("warn", "JIT_SLOTS is 11, and AWS has 10")]),
        ({"grant_slots": 10}, [("warn", "a burst of grants may take every slot, and deletions wait for it")]),
    ],
)
def test_limits_beyond_awss_are_told(given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert told(checks.check_limits(settings_of(**given))) == expected


# the clock


@pytest.mark.parametrize(
    ("seconds", "grade"),
    [(0, "ok"), (5, "ok"), (-5, "ok"), (6, "warn"), (-60, "warn"), (61, "fail"), (-61, "fail")],
)
def test_clock_of_aws_is_compared_with_the_databases(seconds: int, grade: str) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    found = checks.check_clock(now + timedelta(seconds=seconds), now)
    assert (found.grade.value, found.found) == (grade, f"AWS is {seconds:+} s from the database")


async def test_clock_of_aws_is_read_from_its_answer(aws: Simulator) -> None:
    found = await probed(aws)
    assert found.aws_time is not None
    assert abs(found.aws_time - datetime.now(UTC)) < timedelta(seconds=30)
    assert checks.check_clock(None, found.aws_time).grade is Grade.WARN


# all of it, with the inventory


@pytest.fixture
async def dsn(admin_dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_access_key)
    monkeypatch.setattr(checks, "_PAUSE_S", 0.0)
    async with service_database(admin_dsn, "provisioner") as found:
        yield found


async def examined(aws: Simulator, dsn: str) -> dict[str, Finding]:
    settings = settings_of(aws_endpoint=aws.url, database_url=SecretStr(dsn))
    return {one.check: one for one in await checks.check_aws(settings)}


async def test_inventory_is_compared_with_what_aws_has_now(admin_dsn: str, dsn: str, aws: Simulator) -> None:
    never = (await examined(aws, dsn))["inventory"]
    assert (never.grade, never.found) == (Grade.FAIL, "AWS was never read, so nobody is known")
    async with provisioner_context(admin_dsn, dsn) as context, adapter(aws) as centre:
        await InventorySync(centre).sync_once(context)
        same = await examined(aws, dsn)
        assert {check: one.grade.value for check, one in same.items()} == dict.fromkeys(
            ("aws.limits", "aws.permissions", "clock.aws", "inventory"), "ok"
        )
        aws.edit(action="disable_user", user="ann")
        aws.edit(action="set_account_state", account="orders-dev", state="SUSPENDED")
        aws.edit(action="delete_group", group="contractors")
        later = (await examined(aws, dsn))["inventory"]
    assert (later.grade, later.found) == (
        Grade.WARN, "is not what AWS has now: 1 accounts, 1 users, 1 groups",
    )  # fmt: skip
    assert not [name for name in operations(aws) if name.startswith(("Create", "Delete"))]


async def test_refused_reading_spares_the_inventory_and_is_said_once(dsn: str, aws: Simulator) -> None:
    aws.fault(operation="ListUsers", kind="error", code="AccessDeniedException", message="not authorized")
    found = await examined(aws, dsn)
    assert set(found) == {"aws.limits", "aws.permissions"}
    assert found["aws.permissions"].found == "identitystore:ListUsers is refused"


async def test_whole_look_at_an_installation_that_works_finds_nothing_wrong(
    admin_dsn: str, dsn: str, aws: Simulator, tmp_path: Path
) -> None:
    box = Mailbox(tmp_path)
    await box.start()
    with embedded_kafka() as kafka:
        kafka.create_topics({topic.name: topic.partitions for topic in TOPICS.values()})
        async with provisioner_context(admin_dsn, dsn) as context, adapter(aws) as centre:
            await InventorySync(centre).sync_once(context)
        settings = settings_of(
            aws_endpoint=aws.url, database_url=SecretStr(dsn), alerts_mail_to=("ops@example.com",),
            kafka=KafkaSettings(bootstrap=(kafka.bootstrap,)), smtp=SmtpSettings(port=box.port),
        )  # fmt: skip
        found = await checks_of("provisioner", settings)
    await box.stop()
    assert [one for one in found if one.grade is Grade.FAIL] == []
    # The mock cluster tells no rights, and the server of the tests has other databases of this role's.
    assert {one.check for one in found if one.grade is Grade.WARN} <= {"broker.rights", "database.role"}
    assert list(dict.fromkeys(one.check.partition(".")[0] for one in found)) == [
        "keys", "database", "clock", "broker", "mail", "aws", "inventory",
    ]  # fmt: skip
