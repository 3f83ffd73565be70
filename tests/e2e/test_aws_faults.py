"""AWS failing in every way it can: grants come true late or fail loudly, and access always ends."""

import asyncio
from typing import Any

import pytest

from tests.support.running import Running, until
from tests.support.together import together

pytestmark = pytest.mark.e2e

SOFT: list[tuple[str, dict[str, Any]]] = [
    ("5xx", {"kind": "http500", "times": 1}),
    ("throttled", {"kind": "error", "code": "ThrottlingException", "times": 2}),
    (
        "conflict",
        {"kind": "error", "code": "ConflictException", "message": "Another operation is on", "times": 1},
    ),
    ("FAILED", {"kind": "fail_async", "times": 1}),
    ("FAILED in part", {"kind": "fail_async", "partial": True, "times": 1}),
    ("cut before", {"kind": "reset_before", "times": 1}),
    ("cut after accepting", {"kind": "reset_after_accept", "times": 1}),
]
"""What passes: the call is made again, or found to have been taken."""


def _fault(running: Running, operation: str, account: str, **fault: Any) -> None:
    running.stack.simulator.fault(operation=operation, account=account, **fault)


@together
async def test_grant_through_passing_faults_comes_true_once_and_ends(running: Running) -> None:
    async def through(fault: dict[str, Any]) -> None:
        account = running.spare_account("nonprod")
        _fault(running, "CreateAccountAssignment", account, **fault)
        ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
        assert running.present("ann", account, "Developer")
        _fault(running, "DeleteAccountAssignment", account, **fault)
        await running.person("ann").post(f"/v1/tickets/{ticket['id']}/return")
        await running.until_state(ticket["id"], "ended")
        assert not running.present("ann", account, "Developer")
        codes = await running.until_recorded(ticket["id"], "access.revoked")
        assert codes.count("access.granted") == codes.count("access.revoked") == 1

    await asyncio.gather(*(through(fault) for _, fault in SOFT))


@together
async def test_grant_that_aws_refuses_for_good_fails_loudly_and_leaves_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    _fault(
        running,
        "CreateAccountAssignment",
        account,
        kind="error",
        code="AccessDeniedException",
        status=403,
        message="not you",
    )
    ticket = await running.submit("ann", (account, "Developer"), duration="PT1H")
    await running.decide("bob", ticket["id"])
    failed = await running.until_state(ticket["id"], "failed")
    assert failed["grants"][0]["code"] == "aws_denied"
    assert not running.present("ann", account, "Developer")
    await running.until_mailed(ticket["id"], "ann", "Access not granted")
    await running.until_alerted("a grant failed: aws_denied")


@together
async def test_revoke_that_keeps_failing_is_loud_and_done_in_the_end(running: Running) -> None:
    account = running.spare_account("nonprod")
    rule = running.stack.simulator.fault(operation="DeleteAccountAssignment", account=account, kind="http500")
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration=running.brief)
    await running.until_mailed(ticket["id"], "ann", "Access is over, but not known to be gone")
    await running.until_alerted("should have been revoked and are not verified gone")
    assert (await running.ticket(ticket["id"]))["state"] == "revoking", "not called ended while it is there"
    assert running.stack.simulator.faults.remove(rule.id)
    await running.until_state(ticket["id"], "ended")
    assert not running.present("ann", account, "Developer")
    # Of all that is overdue: other scenarios have theirs.
    await until(lambda: _cleared(running), 240, what="the overdue revoke is gone from the alerts")


async def _cleared(running: Running) -> bool:
    page = await running.person("root").get("/v1/ops/provisioner/alerts")
    return "revoke_overdue" not in {one["key"] for one in page["items"]}


@together
async def test_operation_that_never_finishes_is_alerted_and_access_does_not_outlive_it(
    running: Running,
) -> None:
    account = running.spare_account("nonprod")
    _fault(running, "CreateAccountAssignment", account, kind="never_finishes", times=1)
    ticket = await running.submit("ann", (account, "Developer"), duration=running.brief)
    await running.decide("bob", ticket["id"])
    await running.until_alerted("AWS does not finish an operation")
    await running.until_state(ticket["id"], "revoking")
    # AWS comes round after the window is over: what it made then is taken away.
    wanted = running.account_id(account)
    (request,) = [
        one
        for one in running.stack.simulator.world.requests.all.values()
        if one.status == "IN_PROGRESS" and one.assignment and one.assignment.account == wanted
    ]
    answer = await running.client.post(
        f"{running.stack.simulator.url}/_sim/requests/{request.id}/finish", json={}
    )
    assert answer.status_code == 200, answer.text
    await running.until_state(ticket["id"], "ended", "failed")
    assert running.history("ann", account, "Developer") == ["appeared", "disappeared"]


@together
async def test_person_disabled_between_approval_and_start_gets_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    directory = running.stack.simulator.directory
    name = next(one.user_name for one in directory.users.values() if _is_engineer(running, one.user_name))
    ticket = await running.submit("bob", (account, "Developer"), beneficiaries=[name], duration="PT1H")
    running.stack.simulator.edit(action="disable_user", user=name)
    await running.decide(running.approver_of_development(), ticket["id"])
    failed = await running.until_state(ticket["id"], "failed")
    assert failed["grants"][0]["code"] == "user_disabled"
    assert not running.calls("CreateAccountAssignment", name, account)


def _is_engineer(running: Running, name: str) -> bool:
    directory = running.stack.simulator.directory
    user = directory.find_user(name)
    names = {directory.groups[one.group].name for one in directory.groups_of(user.id)}
    return "engineers" in names and "owners-dev" not in names
