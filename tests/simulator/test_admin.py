import pytest

from tests.simulator.aws import Aws

SSO, STORE, ORG = "sso-admin", "identitystore", "organizations"


async def test_history_tells_each_appearance_with_its_moment_and_cause(aws: Aws) -> None:
    aws.simulator.change_settings(create_seconds={"low": 3, "high": 3}, delete_seconds={"low": 2, "high": 2})
    start = aws.clock.now()
    created = await aws.create()
    aws.clock.advance(100)
    deleted = await aws.delete()
    aws.clock.advance(100)
    rows = [row for row in (await aws.sim("GET", "/history"))["history"] if row["cause"] != "standing"]
    assert [(row["time"] - start, row["event"], row["cause"]) for row in rows] == [
        (3, "appeared", created),
        (102, "disappeared", deleted),
    ]
    assert (rows[0]["principal_name"], rows[0]["account_name"]) == ("ann", "orders-prod")
    assert rows[0]["permission_set_name"] == "ReadOnly"


async def test_foreign_assignment_is_marked_as_such(aws: Aws) -> None:
    names = {"user": "ann", "account": "orders-prod", "permission_set": "ReadOnly"}
    await aws.sim("POST", "/edit", {"action": "add_assignment", **names})
    assert await aws.listed() == [aws.user("ann")]
    await aws.sim("POST", "/edit", {"action": "remove_assignment", **names})
    assert await aws.listed() == []
    causes = [row["cause"] for row in (await aws.sim("GET", "/history"))["history"]]
    assert causes[-2:] == ["foreign", "foreign"]


async def test_assignments_are_the_truth_and_not_what_lists_show(aws: Aws) -> None:
    aws.simulator.change_settings(list_lag_seconds=1000)
    await aws.create()
    aws.clock.advance(5)
    rows = (await aws.sim("GET", "/assignments"))["assignments"]
    assert ("ann", "orders-prod") in {(row["principal_name"], row["account_name"]) for row in rows}
    assert await aws.listed() == []


async def test_calls_are_told_with_parameters_and_outcome_but_no_credentials(aws: Aws) -> None:
    await aws.create()
    await aws.refused(SSO, "create_account_assignment", **aws.assignment())
    answer = await aws.sim("GET", "/calls?operation=CreateAccountAssignment")
    accepted, refused = answer["calls"]
    assert accepted["params"]["PrincipalId"] == aws.user("ann")
    assert (accepted["outcome"], refused["error"], refused["status"]) == ("ok", "ConflictException", 400)
    assert "Credential" not in str(answer)
    later = await aws.sim("GET", f"/calls?after={accepted['number']}")
    assert [row["number"] for row in later["calls"]] == [refused["number"]]


async def test_counters_tell_throttles(aws: Aws) -> None:
    aws.simulator.change_settings(rate_per_second={"sso-admin": 1})
    await aws.call(SSO, "list_instances")
    await aws.refused(SSO, "list_instances")
    counters = await aws.sim("GET", "/counters")
    assert counters["throttles"] == 1
    assert counters["calls"] == {"ListInstances ok": 1, "ListInstances ThrottlingException": 1}


async def test_settings_change_one_by_one_and_refuse_nonsense(aws: Aws) -> None:
    changed = await aws.sim("PUT", "/settings", {"slots": 3})
    assert (changed["slots"], changed["list_lag_seconds"]) == (3, 0)
    for wrong in ({"slots": -1}, {"spots": 1}, {"create_seconds": {"low": 2, "high": 1}}, []):
        assert "error" in await aws.sim("PUT", "/settings", wrong)
    assert (await aws.sim("GET", "/settings"))["slots"] == 3


async def test_edits_are_seen_through_the_api(aws: Aws) -> None:
    directory = aws.simulator.directory
    account = directory.find_account("orders-prod").id
    for edit in (
        {"action": "disable_user", "user": "ann"},
        {"action": "add_member", "user": "ann", "group": "admins"},
        {"action": "set_account_state", "account": "orders-prod", "state": "SUSPENDED"},
        {"action": "move_account", "account": "orders-prod", "unit": "suspended"},
        {"action": "tag_account", "account": "orders-prod", "key": "env", "value": "old"},
        {"action": "edit_set", "permission_set": "ReadOnly", "session_duration": "PT8H"},
    ):
        assert "error" not in await aws.sim("POST", "/edit", edit)
    assert not directory.users[aws.user("ann")].enabled
    members = await aws.rows(
        STORE, "list_group_memberships", "GroupMemberships", GroupId=directory.find_group("admins").id
    )
    assert aws.user("ann") in {row["MemberId"]["UserId"] for row in members}
    assert (await aws.call(ORG, "describe_account", AccountId=account))["Account"]["State"] == "SUSPENDED"
    parents = await aws.call(ORG, "list_parents", ChildId=account)
    assert parents["Parents"][0]["Id"] == directory.find_parent("suspended")
    tags = await aws.call(ORG, "list_tags_for_resource", ResourceId=account)
    assert {"Key": "env", "Value": "old"} in tags["Tags"]
    arn = directory.find_set("ReadOnly").arn
    shown = await aws.call(SSO, "describe_permission_set", PermissionSetArn=arn)
    assert shown["PermissionSet"]["SessionDuration"] == "PT8H"


async def test_deleted_set_and_group_are_gone(aws: Aws) -> None:
    await aws.sim("POST", "/edit", {"action": "delete_set", "permission_set": "Auditor"})
    await aws.sim("POST", "/edit", {"action": "delete_group", "group": "dev"})
    names = {found.name for found in aws.simulator.directory.permission_sets.values()}
    assert "Auditor" not in names
    assert all(row["permission_set_name"] for row in (await aws.sim("GET", "/assignments"))["assignments"])
    answer = await aws.sim("POST", "/edit", {"action": "remove_member", "user": "ann", "group": "dev"})
    assert "not found" in answer["error"]


@pytest.mark.parametrize(
    "edit",
    [
        {"action": "disable_user", "user": "nobody"},
        {"action": "abolish"},
        {"action": "add_assignment", "account": "orders-prod", "permission_set": "ReadOnly"},
    ],
)
async def test_edit_that_can_not_be_made_is_refused(aws: Aws, edit: dict[str, str]) -> None:
    assert "error" in await aws.sim("POST", "/edit", edit)


async def test_reset_begins_again_but_numbers_go_on(aws: Aws) -> None:
    aws.simulator.edit(action="disable_user", user="ann")
    aws.simulator.fault(operation="*", kind="http500")
    before = aws.simulator.records.history[-1]["number"]
    await aws.sim("POST", "/reset", {"seed": 5})
    assert aws.simulator.directory.find_user("ann").enabled
    assert (await aws.sim("GET", "/faults"))["faults"] == []
    assert (await aws.sim("GET", "/history"))["history"][0]["number"] == before + 1
