import re
from typing import Any

import pytest

from tests.simulator.aws import ORG, SIGNED, SSO, Aws


async def test_accepted_creation_is_not_access_yet(aws: Aws) -> None:
    request = await aws.create()
    assert (await aws.creation(request))["Status"] == "IN_PROGRESS"
    assert await aws.listed() == []
    aws.clock.advance(5)
    assert (await aws.creation(request))["Status"] == "SUCCEEDED"
    assert await aws.listed() == [aws.user("ann")]


async def test_creation_id_is_no_deletion_id(aws: Aws) -> None:
    request = await aws.create()
    params = {"AccountAssignmentDeletionRequestId": request}
    code = await aws.code(SSO, "describe_account_assignment_deletion_status", **params)
    assert code == "ResourceNotFoundException"


async def test_repeated_creation_makes_no_second_row(aws: Aws) -> None:
    for _ in range(2):
        await aws.create()
        aws.clock.advance(5)
    assert await aws.listed() == [aws.user("ann")]
    await aws.delete()
    aws.clock.advance(5)
    assert await aws.listed() == []


async def test_request_on_a_tuple_or_role_in_flight_is_a_conflict(aws: Aws) -> None:
    await aws.create(user="bob")
    aws.clock.advance(5)
    await aws.create(user="ann")
    for user in ("ann", "bob"):
        params = aws.assignment(user=user)
        assert await aws.code(SSO, "create_account_assignment", **params) == "ConflictException"
        assert await aws.code(SSO, "delete_account_assignment", **params) == "ConflictException"


async def test_requests_of_one_account_run_one_after_the_other(aws: Aws) -> None:
    aws.simulator.change_settings(create_seconds={"low": 4, "high": 4})
    first = await aws.create(name="ReadOnly")
    second = await aws.create(name="PowerUser")
    aws.clock.advance(5)
    statuses = [(await aws.creation(request))["Status"] for request in (first, second)]
    assert statuses == ["SUCCEEDED", "IN_PROGRESS"]
    aws.clock.advance(3)
    assert (await aws.creation(second))["Status"] == "SUCCEEDED"


async def test_account_at_work_may_be_a_conflict_instead(aws: Aws) -> None:
    aws.simulator.change_settings(account_serialisation="conflict")
    await aws.create(name="ReadOnly")
    params = aws.assignment(name="PowerUser")
    assert await aws.code(SSO, "create_account_assignment", **params) == "ConflictException"


async def test_eleventh_outstanding_request_is_throttled_for_the_slots(aws: Aws) -> None:
    for number in range(1, 11):
        await aws.create(account=f"sandbox-{number:02}")
    answer = await aws.refused(SSO, "create_account_assignment", **aws.assignment(account="sandbox-11"))
    assert answer["Error"]["Code"] == "ThrottlingException"
    assert "too many requests processing" in answer["Error"]["Message"]


async def test_twenty_first_call_in_a_moment_is_throttled(aws: Aws) -> None:
    aws.simulator.change_settings(rate_per_second={"sso-admin": 20})
    for _ in range(20):
        await aws.call(SSO, "list_instances")
    answer = await aws.refused(SSO, "list_instances")
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("ThrottlingException", "Rate exceeded")
    aws.clock.advance(0.05)
    await aws.call(SSO, "list_instances")


async def test_organizations_throttles_by_another_name(aws: Aws) -> None:
    aws.simulator.change_settings(rate_per_second={"organizations": 1})
    await aws.call(ORG, "list_roots")
    assert await aws.code(ORG, "list_roots") == "TooManyRequestsException"


@pytest.mark.parametrize("choice", ["not_found", "failed", "succeeded"])
async def test_deletion_of_nothing_answers_as_set(aws: Aws, choice: str) -> None:
    aws.simulator.change_settings(missing_assignment_deletion=choice)
    if choice == "not_found":
        assert (
            await aws.code(SSO, "delete_account_assignment", **aws.assignment())
            == "ResourceNotFoundException"
        )
        return
    request = await aws.delete()
    aws.clock.advance(5)
    assert (await aws.deletion(request))["Status"] == choice.upper()


async def test_last_deletion_takes_the_role_and_the_next_has_a_new_suffix(aws: Aws) -> None:
    async def role() -> list[str]:
        account = aws.simulator.directory.find_account("orders-prod").id
        return [row["name"] for row in (await aws.sim("GET", "/roles"))["roles"] if row["account"] == account]

    names = []
    for _ in range(2):
        await aws.create()
        aws.clock.advance(5)
        names += await role()
        await aws.delete()
        aws.clock.advance(5)
        assert await role() == []
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"AWSReservedSSO_ReadOnly_[0-9a-f]{16}", name) for name in names)


async def test_lists_lag_behind_the_truth(aws: Aws) -> None:
    aws.simulator.change_settings(list_lag_seconds=10)
    await aws.create()
    aws.clock.advance(5)
    assert len(aws.simulator.assignments()) == 10
    assert await aws.listed() == []
    aws.clock.advance(10)
    assert await aws.listed() == [aws.user("ann")]
    await aws.delete()
    aws.clock.advance(5)
    assert await aws.listed() == [aws.user("ann")]
    aws.clock.advance(10)
    assert await aws.listed() == []


async def test_status_lists_tell_only_status_and_id(aws: Aws) -> None:
    done = await aws.create()
    aws.clock.advance(5)
    running = await aws.create(user="bob")
    params: dict[str, Any] = {"Filter": {"Status": "IN_PROGRESS"}}
    name = "AccountAssignmentsCreationStatus"
    rows = await aws.rows(SSO, "list_account_assignment_creation_status", name, **params)
    assert [row["RequestId"] for row in rows] == [running]
    assert set(rows[0]) == {"Status", "RequestId", "CreatedDate"}
    everything = await aws.rows(SSO, "list_account_assignment_creation_status", name)
    assert [row["RequestId"] for row in everything] == [running, done]


async def test_creation_fails_when_the_user_goes_meanwhile(aws: Aws) -> None:
    request = await aws.create(user="eve")
    aws.simulator.edit(action="delete_user", user="eve")
    aws.clock.advance(5)
    assert (await aws.creation(request))[
        "FailureReason"
    ] == "The principal does not exist in the identity store."


async def test_deleted_users_assignment_stays_and_can_be_deleted(aws: Aws) -> None:
    await aws.create(user="eve")
    aws.clock.advance(5)
    params = aws.assignment(user="eve")
    aws.simulator.edit(action="delete_user", user="eve")
    assert await aws.listed() == [params["PrincipalId"]]
    await aws.call(SSO, "delete_account_assignment", **params)
    aws.clock.advance(5)
    assert await aws.listed() == []


async def test_creation_on_a_suspended_account_fails_later(aws: Aws) -> None:
    request = await aws.create(account="old-webshop")
    aws.clock.advance(5)
    status = await aws.creation(request)
    assert status["Status"] == "FAILED"
    assert "wait for role propagation" in status["FailureReason"]


async def test_disabled_user_is_shown_and_can_be_assigned(aws: Aws) -> None:
    answer = await aws.raw(
        X_Amz_Target="AWSIdentityStore.DescribeUser",
        Authorization=SIGNED.format("identitystore"),
        body=f'{{"IdentityStoreId": "d-99670c1e5a", "UserId": "{aws.user("leaver")}"}}'.encode(),
    )
    assert answer.json()["UserStatus"] == "DISABLED"
    await aws.create(user="leaver")


async def test_accounts_carry_state_status_and_paths(aws: Aws) -> None:
    account = aws.simulator.directory.find_account("old-webshop").id
    answer = await aws.raw(
        X_Amz_Target="AWSOrganizationsV20161128.DescribeAccount",
        body=f'{{"AccountId": "{account}"}}'.encode(),
    )
    shown = answer.json()["Account"]
    assert (shown["State"], shown["Status"]) == ("SUSPENDED", "SUSPENDED")
    pattern = r"o-[a-z0-9]{10,32}/r-[0-9a-z]{4,32}(/ou-[0-9a-z]{4,32}-[a-z0-9]{8,32})*/\d{12}/"
    assert re.fullmatch(pattern, shown["Paths"][0])


async def test_delegated_administrator_may_not_touch_the_management_account(aws: Aws) -> None:
    aws.simulator.change_settings(caller="delegated")
    params = aws.assignment(account="management")
    assert await aws.code(SSO, "create_account_assignment", **params) == "AccessDeniedException"


async def test_delegated_administrator_may_not_use_a_set_provisioned_in_management(aws: Aws) -> None:
    aws.simulator.change_settings(caller="delegated")
    params = aws.assignment(account="orders-prod", name="Billing")
    assert await aws.code(SSO, "create_account_assignment", **params) == "AccessDeniedException"
    await aws.create(name="ReadOnly")


async def test_list_for_principal_is_for_the_management_account_only(aws: Aws) -> None:
    aws.simulator.change_settings(caller="delegated")
    params = {"PrincipalId": aws.user("ann"), "PrincipalType": "USER"}
    code = await aws.code(SSO, "list_account_assignments_for_principal", **params)
    assert code == "AccessDeniedException"


async def test_list_for_principal_shows_what_comes_through_groups(aws: Aws) -> None:
    params = {"PrincipalId": aws.user("aud"), "PrincipalType": "USER"}
    operation = "list_account_assignments_for_principal"
    rows = await aws.rows(SSO, operation, "AccountAssignments", **params)
    assert {row["PrincipalType"] for row in rows} == {"GROUP"}
    assert len(rows) == 3
    aws.simulator.change_settings(principal_lists_include_groups=False)
    assert await aws.rows(SSO, operation, "AccountAssignments", **params) == []
