from typing import Any

from tests.simulator.aws import SSO, Aws


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
