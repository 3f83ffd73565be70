from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from simulator.asynchronous import ROLE_DENIED
from simulator.clock import SystemClock
from simulator.faults import DEFAULT_REASON
from simulator.server import Simulator
from tests.simulator.aws import Aws

SSO = "sso-admin"
CREATE = "CreateAccountAssignment"


async def test_error_fault_answers_with_its_code_and_does_nothing(aws: Aws) -> None:
    rule = {"operation": CREATE, "kind": "error", "code": "ConflictException", "message": "busy", "times": 2}
    await aws.sim("POST", "/faults", rule)
    for _ in range(2):
        assert await aws.code(SSO, "create_account_assignment", **aws.assignment()) == "ConflictException"
    assert not aws.simulator.world.requests.all
    await aws.create()


async def test_http500_fault_is_an_internal_error_of_the_service(aws: Aws) -> None:
    await aws.sim("POST", "/faults", {"operation": "*", "kind": "http500", "times": 2})
    answer = await aws.refused(SSO, "list_instances")
    assert answer["Error"]["Code"] == "InternalServerException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert await aws.code("organizations", "list_roots") == "ServiceException"


async def test_reset_before_leaves_nothing_behind(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="reset_before", times=1)
    with pytest.raises(ConnectionClosedError):
        await aws.create()
    assert not aws.simulator.world.requests.all


async def test_reset_after_accept_makes_the_assignment_all_the_same(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="reset_after_accept", times=1)
    with pytest.raises(ConnectionClosedError):
        await aws.create()
    name = "AccountAssignmentsCreationStatus"
    rows = await aws.rows(SSO, "list_account_assignment_creation_status", name)
    assert [row["Status"] for row in rows] == ["IN_PROGRESS"]
    aws.clock.advance(5)
    assert await aws.listed() == [aws.user("ann")]
    last = aws.simulator.records.calls[0]
    assert (last["outcome"], last["async_request_id"]) == ("reset_after_accept", rows[0]["RequestId"])


async def test_asynchronous_failure_tells_its_reason_and_leaves_nothing(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="fail_async", reason=ROLE_DENIED, times=1)
    request = await aws.create()
    aws.clock.advance(5)
    status = await aws.creation(request)
    assert (status["Status"], status["FailureReason"]) == ("FAILED", ROLE_DENIED)
    assert await aws.listed() == []


async def test_partial_failure_leaves_the_assignment_there(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="fail_async", partial=True, times=1)
    request = await aws.create()
    aws.clock.advance(5)
    assert (await aws.creation(request))["FailureReason"] == DEFAULT_REASON
    assert await aws.listed() == [aws.user("ann")]


async def test_failed_deletion_leaves_the_assignment_there(aws: Aws) -> None:
    await aws.create()
    aws.clock.advance(5)
    aws.simulator.fault(operation="DeleteAccountAssignment", kind="fail_async", times=1)
    request = await aws.delete()
    aws.clock.advance(5)
    assert (await aws.deletion(request))["Status"] == "FAILED"
    assert await aws.listed() == [aws.user("ann")]


async def test_request_that_never_finishes_can_be_ended_by_hand(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="never_finishes", times=1)
    request = await aws.create()
    behind = await aws.create(name="PowerUser")
    aws.clock.advance(86_400)
    assert (await aws.creation(request))["Status"] == "IN_PROGRESS"
    await aws.sim("POST", f"/requests/{request}/finish", {"reason": "given up"})
    assert (await aws.creation(request))["FailureReason"] == "given up"
    aws.clock.advance(5)
    assert (await aws.creation(behind))["Status"] == "SUCCEEDED"


async def test_fault_on_accepted_calls_is_not_used_up_by_a_refused_one(aws: Aws) -> None:
    await aws.create()
    aws.simulator.fault(operation=CREATE, kind="fail_async", times=1)
    assert await aws.code(SSO, "create_account_assignment", **aws.assignment()) == "ConflictException"
    aws.clock.advance(5)
    request = await aws.create(user="bob")
    aws.clock.advance(5)
    assert (await aws.creation(request))["Status"] == "FAILED"
    assert not aws.simulator.faults.rules


async def test_duration_fault_sets_how_long_a_request_takes(aws: Aws) -> None:
    aws.simulator.fault(operation=CREATE, kind="duration", seconds=60)
    request = await aws.create()
    aws.clock.advance(59)
    assert (await aws.creation(request))["Status"] == "IN_PROGRESS"
    aws.clock.advance(2)
    assert (await aws.creation(request))["Status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "narrowed", [{"user": "bob"}, {"account": "ledger-prod"}, {"permission_set": "Billing"}]
)
async def test_fault_strikes_only_what_it_names(aws: Aws, narrowed: dict[str, str]) -> None:
    aws.simulator.fault(operation=CREATE, kind="error", code="ConflictException", **narrowed)
    await aws.create()
    names = {"user": "user", "account": "account", "permission_set": "name"}
    params = aws.assignment(**{names[key]: value for key, value in narrowed.items()})
    assert await aws.code(SSO, "create_account_assignment", **params) == "ConflictException"


async def test_probable_fault_strikes_the_same_calls_with_the_same_seed(aws: Aws) -> None:
    async def run() -> list[bool]:
        rule = {"operation": "ListInstances", "kind": "error", "probability": 0.5, "seed": 7}
        made = await aws.sim("POST", "/faults", rule)
        struck = [await _fails(aws) for _ in range(20)]
        await aws.sim("DELETE", f"/faults/{made['id']}")
        return struck

    first = await run()
    assert first == await run()
    assert 3 < sum(first) < 17


async def _fails(aws: Aws) -> bool:
    try:
        await aws.call(SSO, "list_instances")
    except ClientError:
        return True
    return False


async def test_latency_fault_delays_the_answer_in_real_time() -> None:
    async with Simulator(clock=SystemClock()).serve() as simulator:
        simulator.fault(operation="ListInstances", kind="latency", seconds=0.05)
        clock = simulator.clock
        aws = Aws(simulator, clock)  # type: ignore[arg-type]  # nothing here moves the clock
        before = clock.now()
        await aws.call(SSO, "list_instances")
        aws.close()
        assert clock.now() - before >= 0.05


@pytest.mark.parametrize(
    "rule",
    [
        {"operation": "*", "kind": "explode"},
        {"operation": "*", "kind": "latency"},
        {"kind": "http500"},
        {"operation": "*", "kind": "http500", "sometimes": True},
    ],
)
async def test_fault_that_makes_no_sense_is_refused(aws: Aws, rule: dict[str, Any]) -> None:
    assert "error" in await aws.sim("POST", "/faults", rule)
    assert (await aws.sim("GET", "/faults"))["faults"] == []
