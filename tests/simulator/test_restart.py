import json
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from simulator.clock import ManualClock
from simulator.server import Simulator
from tests.simulator.aws import Aws


def _simulator(folder: Path, clock: ManualClock) -> Simulator:
    return Simulator(clock=clock, state_file=folder / "state.json", call_log=folder / "calls.ndjson")


async def test_state_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with _simulator(tmp_path, clock).serve() as simulator:
        aws = Aws(simulator, clock)
        await aws.create(user="bob")
        clock.advance(5)
        roles = await aws.sim("GET", "/roles")
        running = await aws.create(user="ann", account="ledger-prod")
        await aws.sim("POST", "/edit", {"action": "disable_user", "user": "eve"})
        await aws.sim("PUT", "/settings", {"slots": 4})
        aws.close()
    clock.advance(60)
    async with _simulator(tmp_path, clock).serve() as simulator:
        aws = Aws(simulator, clock)
        assert (await aws.creation(running))["Status"] == "SUCCEEDED"
        assert await aws.listed() == [aws.user("bob")]
        assert not simulator.directory.find_user("eve").enabled
        assert simulator.world.settings.slots == 4
        kept = {role["name"] for role in (await aws.sim("GET", "/roles"))["roles"]}
        assert {role["name"] for role in roles["roles"]} < kept
        again = await aws.create(user="carl")
        assert again != running
        aws.close()


async def test_request_that_ended_while_stopped_ended_at_its_own_moment(tmp_path: Path) -> None:
    clock = ManualClock()
    async with _simulator(tmp_path, clock).serve() as simulator:
        simulator.change_settings(create_seconds={"low": 3, "high": 3})
        aws = Aws(simulator, clock)
        due = clock.now() + 3
        await aws.create()
        aws.close()
    clock.advance(3600)
    async with _simulator(tmp_path, clock).serve() as simulator:
        simulator.assignments()
        assert simulator.records.history[-1]["time"] == due


async def test_call_log_is_appended_and_read_back(tmp_path: Path) -> None:
    clock = ManualClock()
    for _ in range(2):
        async with _simulator(tmp_path, clock).serve() as simulator:
            aws = Aws(simulator, clock)
            await aws.call("sso-admin", "list_instances")
            aws.close()
    with (tmp_path / "calls.ndjson").open("a") as cut_off:
        cut_off.write('{"number": 99, "ki')
    lines = (tmp_path / "calls.ndjson").read_text().splitlines()[:-1]
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == list(range(1, len(lines) + 1))
    async with _simulator(tmp_path, clock).serve() as simulator:
        assert [row["operation"] for row in simulator.records.calls] == ["ListInstances"] * 2


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    return [sys.executable, "-m", "simulator", "--state", str(tmp_path / "state.json")]


def test_process_prints_its_url_and_keeps_what_it_accepted_over_a_kill(command: list[str]) -> None:
    settings = ["--settings", '{"create_seconds": {"low": 0, "high": 0}}']
    names = Simulator().directory
    account, arn = names.find_account("orders-prod").id, names.find_set("ReadOnly").arn
    for run in range(2):
        with subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            client = boto3.client(
                "sso-admin",
                endpoint_url=process.stdout.readline().strip(),
                region_name="eu-central-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            where = {"InstanceArn": names.instance.arn, "PermissionSetArn": arn}
            who = {"PrincipalType": "USER", "PrincipalId": names.find_user("ann").id}
            if run == 0:
                client.create_account_assignment(TargetId=account, TargetType="AWS_ACCOUNT", **where, **who)
            else:
                rows = client.list_account_assignments(AccountId=account, **where)["AccountAssignments"]
                assert [row["PrincipalId"] for row in rows] == [who["PrincipalId"]]
            client.close()
            process.send_signal(signal.SIGKILL if run == 0 else signal.SIGTERM)
            assert process.wait(10) == (-signal.SIGKILL if run == 0 else 0)


def test_unusable_organisation_is_refused_with_its_reason(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("organisation: {}\n")
    command = [sys.executable, "-m", "simulator", "--organisation", str(wrong)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "wrong.yaml" in ended.stderr
