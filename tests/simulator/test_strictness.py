"""One test per row of the strictness table in docs/simulator.md, driven by an unmodified boto3."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from simulator.wire import CONTENT_TYPE
from tests.simulator.aws import Aws

SSO, STORE, ORG = "sso-admin", "identitystore", "organizations"
UNKNOWN_ID = "0123456789-00000000-0000-4000-a000-000000000000"
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/{}/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00ff"
)


def test_every_row_of_the_table_has_its_test() -> None:
    table = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", table))
    here = set(re.findall(r"def (test_\w+)\(", Path(__file__).read_text(encoding="utf-8")))
    here.discard("test_every_row_of_the_table_has_its_test")
    assert named == here, "docs/simulator.md's table and this file must name the same tests"


async def raw(aws: Aws, *, body: bytes = b"{}", **headers: str) -> httpx2.Response:
    """A request that no AWS client would make."""
    usual = {
        "Content-Type": CONTENT_TYPE,
        "X-Amz-Target": "AWSOrganizationsV20161128.ListRoots",
        "Authorization": SIGNED.format("organizations"),
    }
    wanted = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient() as client:
        return await client.post(
            aws.simulator.url, content=body, headers={k: v for k, v in wanted.items() if v}
        )


# --- the protocol ---


async def test_request_without_authorization_is_refused(aws: Aws) -> None:
    answer = await raw(aws, Authorization="")
    assert answer.status_code == 403
    assert answer.json()["__type"] == "MissingAuthenticationTokenException"


async def test_authorization_that_is_no_signature_is_refused(aws: Aws) -> None:
    answer = await raw(aws, Authorization="Bearer something")
    assert (answer.status_code, answer.json()["__type"]) == (403, "IncompleteSignatureException")


async def test_signature_for_another_service_is_refused(aws: Aws) -> None:
    answer = await raw(aws, Authorization=SIGNED.format("sso"))
    assert (answer.status_code, answer.json()["__type"]) == (403, "InvalidSignatureException")


async def test_unknown_target_and_operation_are_refused(aws: Aws) -> None:
    for target in ("Nobody.ListRoots", "AWSOrganizationsV20161128.Nothing", ""):
        answer = await raw(aws, X_Amz_Target=target)
        assert (answer.status_code, answer.json()["__type"]) == (404, "UnknownOperationException")


async def test_operation_that_is_not_simulated_says_so(aws: Aws) -> None:
    answer = await aws.refused(ORG, "list_policies", Filter="SERVICE_CONTROL_POLICY")
    assert answer["Error"]["Code"] == "UnknownOperationException"
    assert "docs/simulator.md" in answer["Error"]["Message"]


async def test_other_content_type_is_refused(aws: Aws) -> None:
    answer = await raw(aws, Content_Type="application/json")
    assert answer.json()["__type"] == "UnknownOperationException"


async def test_body_that_is_no_json_object_is_refused(aws: Aws) -> None:
    for body in (b"{", b"[]", b"\xff"):
        answer = await raw(aws, body=body)
        assert (answer.status_code, answer.json()["__type"]) == (400, "SerializationException")


async def test_member_of_a_wrong_type_is_refused(aws: Aws) -> None:
    answer = await raw(aws, body=b'{"MaxResults": "5"}')
    assert answer.json()["__type"] == "SerializationException"


async def test_answers_carry_request_id_and_error_type(aws: Aws) -> None:
    answer = await raw(aws, body=b'{"MaxResults": 21}')
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.headers["x-amzn-errortype"] == "InvalidInputException"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-requestid"])


async def test_null_member_counts_as_absent(aws: Aws) -> None:
    assert (await raw(aws, body=b'{"MaxResults": null}')).status_code == 200


# --- parameters ---


async def test_missing_member_is_named(aws: Aws) -> None:
    params = aws.assignment()
    del params["TargetId"]
    error = (await aws.refused(SSO, "create_account_assignment", **params))["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == (
        "1 validation error detected: Value null at 'targetId' failed to satisfy constraint: "
        "Member must not be null"
    )


@pytest.mark.parametrize(
    ("member", "value", "constraint"),
    [
        ("TargetId", "12345678901", "length greater than or equal to 12"),
        ("TargetId", "1234567890123", "length less than or equal to 12"),
        ("TargetId", "12345678901x", "regular expression pattern"),
        ("TargetType", "OU", "enum value set: [AWS_ACCOUNT]"),
        ("PrincipalId", "ann", "regular expression pattern"),
        ("PermissionSetArn", "arn:aws:sso:::instance/ssoins-72231b9f4c6a8d05/ps-1", "pattern"),
        ("InstanceArn", "arn:aws:sso:::instance/else", "pattern"),
    ],
)
async def test_value_outside_the_model_is_refused(aws: Aws, member: str, value: str, constraint: str) -> None:
    error = (await aws.refused(SSO, "create_account_assignment", **aws.assignment() | {member: value}))[
        "Error"
    ]
    assert error["Code"] == "ValidationException"
    assert constraint in error["Message"]
    assert not aws.simulator.world.requests.all


async def test_unknown_member_is_refused(aws: Aws) -> None:
    answer = await raw(aws, body=b'{"Colour": "red"}')
    assert answer.json()["__type"] == "InvalidInputException"


async def test_organizations_says_invalid_input_with_a_reason(aws: Aws) -> None:
    for params, reason in (
        ({"AccountId": "12"}, "INVALID_PATTERN"),
        ({}, "INPUT_REQUIRED"),
    ):
        answer = await aws.refused(ORG, "describe_account", **params)
        assert (answer["Error"]["Code"], answer["Reason"]) == ("InvalidInputException", reason)


async def test_page_size_over_the_limit_is_refused(aws: Aws) -> None:
    assert await aws.code(ORG, "list_accounts", MaxResults=21) == "InvalidInputException"
    assert await aws.code(SSO, "list_permission_sets", MaxResults=101) == "ValidationException"
    assert await aws.code(STORE, "list_users", MaxResults=101) == "ValidationException"


async def test_made_up_page_token_is_refused(aws: Aws) -> None:
    assert await aws.code(ORG, "list_accounts", NextToken="20") == "InvalidInputException"
    assert await aws.code(SSO, "list_permission_sets", NextToken="20") == "ValidationException"
    assert await aws.code(STORE, "list_users", NextToken="AAAA") == "ValidationException"


async def test_page_token_of_another_list_is_refused(aws: Aws) -> None:
    token = (await aws.call(STORE, "list_users", MaxResults=1))["NextToken"]
    assert await aws.code(STORE, "list_groups", NextToken=token) == "ValidationException"


async def test_pages_hold_every_row_once(aws: Aws) -> None:
    accounts = await aws.rows(ORG, "list_accounts", "Accounts", MaxResults=7)
    assert len(accounts) == len({account["Id"] for account in accounts}) == 120
    aws.simulator.change_settings(page_limit=3)
    assert len(await aws.rows(SSO, "list_permission_sets", "PermissionSets")) == 25


async def test_organizations_may_begin_with_an_empty_page(aws: Aws) -> None:
    aws.simulator.change_settings(empty_first_pages=True)
    first = await aws.call(ORG, "list_accounts")
    assert first["Accounts"] == []
    assert len(await aws.rows(ORG, "list_accounts", "Accounts")) == 120


async def test_rows_that_go_between_pages_skip_nobody(aws: Aws) -> None:
    first = await aws.call(STORE, "list_users", MaxResults=100)
    aws.simulator.edit(action="delete_user", user=first["Users"][3]["UserId"])
    rest = await aws.rows(STORE, "list_users", "Users", NextToken=first["NextToken"], MaxResults=100)
    assert len(first["Users"]) + len(rest) == 300


# --- what does not exist ---


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("TargetId", "000000000000"),
        ("PrincipalId", UNKNOWN_ID),
        ("PermissionSetArn", "arn:aws:sso:::permissionSet/ssoins-72231b9f4c6a8d05/ps-0000000000000000"),
        ("InstanceArn", "arn:aws:sso:::instance/ssoins-0000000000000000"),
    ],
)
async def test_unknown_account_set_principal_or_instance_is_not_found(
    aws: Aws, member: str, value: str
) -> None:
    params = aws.assignment() | {member: value}
    assert await aws.code(SSO, "create_account_assignment", **params) == "ResourceNotFoundException"
    assert await aws.code(SSO, "delete_account_assignment", **params) == "ResourceNotFoundException"


async def test_group_id_is_no_user_id(aws: Aws) -> None:
    group = aws.simulator.directory.find_group("dev").id
    params = aws.assignment() | {"PrincipalId": group}
    assert await aws.code(SSO, "create_account_assignment", **params) == "ResourceNotFoundException"


async def test_unknown_user_group_or_store_is_not_found(aws: Aws) -> None:
    answer = await aws.refused(STORE, "describe_user", UserId=UNKNOWN_ID)
    assert (answer["Error"]["Code"], answer["ResourceType"]) == ("ResourceNotFoundException", "USER")
    assert await aws.code(STORE, "describe_group", GroupId=UNKNOWN_ID) == "ResourceNotFoundException"
    assert await aws.code(STORE, "list_users", IdentityStoreId="d-0000000000") == "ResourceNotFoundException"


async def test_unknown_account_unit_or_parent_has_an_error_of_its_own(aws: Aws) -> None:
    unit = "ou-jit0-00000000"
    assert await aws.code(ORG, "describe_account", AccountId="000000000000") == "AccountNotFoundException"
    assert await aws.code(ORG, "list_accounts_for_parent", ParentId=unit) == "ParentNotFoundException"
    code = await aws.code(ORG, "describe_organizational_unit", OrganizationalUnitId=unit)
    assert code == "OrganizationalUnitNotFoundException"
    assert await aws.code(ORG, "list_parents", ChildId=unit) == "ChildNotFoundException"
    assert await aws.code(ORG, "list_tags_for_resource", ResourceId=unit) == "TargetNotFoundException"


async def test_user_is_found_by_unique_attributes_only(aws: Aws) -> None:
    async def found(path: str, value: str) -> Any:
        identifier = {"UniqueAttribute": {"AttributePath": path, "AttributeValue": value}}
        return (await aws.call(STORE, "get_user_id", AlternateIdentifier=identifier))["UserId"]

    assert await found("userName", "ANN") == await found("emails.value", "Ann@example.com") == aws.user("ann")
    identifier = {"UniqueAttribute": {"AttributePath": "title", "AttributeValue": "x"}}
    assert await aws.code(STORE, "get_user_id", AlternateIdentifier=identifier) == "ValidationException"


async def test_user_is_found_by_external_id(aws: Aws) -> None:
    issuer, external = aws.simulator.directory.find_user("bob").external_ids[0]
    identifier = {"ExternalId": {"Issuer": issuer, "Id": external}}
    assert (await aws.call(STORE, "get_user_id", AlternateIdentifier=identifier))["UserId"] == aws.user("bob")


async def test_list_filter_on_an_unknown_path_is_refused(aws: Aws) -> None:
    filters = [{"AttributePath": "Emails", "AttributeValue": "ann@example.com"}]
    assert await aws.code(STORE, "list_users", Filters=filters) == "ValidationException"
    filters = [{"AttributePath": "UserName", "AttributeValue": "Ann"}]
    assert len((await aws.call(STORE, "list_users", Filters=filters))["Users"]) == 1


async def test_second_membership_is_a_conflict(aws: Aws) -> None:
    directory = aws.simulator.directory
    params = {"GroupId": directory.find_group("dev").id, "MemberId": {"UserId": aws.user("carl")}}
    made = await aws.call(STORE, "create_group_membership", **params)
    assert await aws.code(STORE, "create_group_membership", **params) == "ConflictException"
    await aws.call(STORE, "delete_group_membership", MembershipId=made["MembershipId"])
    groups = [params["GroupId"]]
    answer = await aws.call(STORE, "is_member_in_groups", MemberId=params["MemberId"], GroupIds=groups)
    assert answer["Results"][0]["MembershipExists"] is False


# --- permission sets ---


async def test_second_set_of_a_name_is_a_conflict(aws: Aws) -> None:
    assert await aws.code(SSO, "create_permission_set", Name="ReadOnly") == "ConflictException"


async def test_session_duration_outside_one_to_twelve_hours_is_refused(aws: Aws) -> None:
    for duration in ("PT59M", "PT13H", "P1D"):
        code = await aws.code(SSO, "create_permission_set", Name="New", SessionDuration=duration)
        assert code == "ValidationException"


async def test_set_in_use_can_not_be_deleted(aws: Aws) -> None:
    arn = aws.simulator.directory.find_set("Auditor").arn
    assert await aws.code(SSO, "delete_permission_set", PermissionSetArn=arn) == "ConflictException"
    unused = aws.simulator.directory.find_set("CacheOperator").arn
    await aws.call(SSO, "delete_permission_set", PermissionSetArn=unused)
    assert (
        await aws.code(SSO, "describe_permission_set", PermissionSetArn=unused) == "ResourceNotFoundException"
    )


async def test_inline_policy_must_be_a_policy(aws: Aws) -> None:
    arn = aws.simulator.directory.find_set("ReadOnly").arn
    for policy, code in (
        ("{", "ValidationException"),
        ("{}", "ValidationException"),
        ('{"Statement": "' + "x" * 10_240 + '"}', "ServiceQuotaExceededException"),
    ):
        params = {"PermissionSetArn": arn, "InlinePolicy": policy}
        assert await aws.code(SSO, "put_inline_policy_to_permission_set", **params) == code


async def test_changed_set_reaches_accounts_only_by_provisioning(aws: Aws) -> None:
    directory = aws.simulator.directory
    arn, account = directory.find_set("Auditor").arn, directory.find_account("audit").id

    async def outdated() -> list[Any]:
        state = "LATEST_PERMISSION_SET_NOT_PROVISIONED"
        params = {"PermissionSetArn": arn, "ProvisioningStatus": state}
        return await aws.rows(SSO, "list_accounts_for_provisioned_permission_set", "AccountIds", **params)

    await aws.call(SSO, "update_permission_set", PermissionSetArn=arn, SessionDuration="PT2H")
    assert len(await outdated()) == 2
    params = {"PermissionSetArn": arn, "TargetType": "AWS_ACCOUNT", "TargetId": account}
    await aws.call(SSO, "provision_permission_set", **params)
    assert len(await outdated()) == 2
    aws.clock.advance(5)
    assert await outdated() == [directory.find_account("log-archive").id]


# --- assignments ---


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
    answer = await raw(
        aws,
        X_Amz_Target="AWSIdentityStore.DescribeUser",
        Authorization=SIGNED.format("identitystore"),
        body=f'{{"IdentityStoreId": "d-99670c1e5a", "UserId": "{aws.user("leaver")}"}}'.encode(),
    )
    assert answer.json()["UserStatus"] == "DISABLED"
    await aws.create(user="leaver")


async def test_accounts_carry_state_status_and_paths(aws: Aws) -> None:
    account = aws.simulator.directory.find_account("old-webshop").id
    answer = await raw(
        aws,
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
