from typing import Any

import pytest

from tests.simulator.aws import ORG, SSO, STORE, Aws

UNKNOWN_ID = "0123456789-00000000-0000-4000-a000-000000000000"


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
