import pytest

from tests.simulator.aws import ORG, SSO, STORE, Aws


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
    answer = await aws.raw(body=b'{"Colour": "red"}')
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
