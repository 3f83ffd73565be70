import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.aws import Aws

pytestmark = pytest.mark.aws_cli
USUAL = Path(__file__).parents[2] / ".venv-aws" / "bin" / "aws"


@pytest.fixture
def executable() -> str:
    found = os.environ.get("JIT_TEST_AWS_CLI", str(USUAL))
    if not Path(found).exists():
        pytest.skip(
            f"no AWS CLI at {found}: install the package awscli in a venv of its own (docs/simulator.md)"
        )
    return found


async def run(executable: str, aws: Aws, *arguments: str) -> Any:
    """One command of the unmodified AWS CLI; its JSON."""
    process = await asyncio.create_subprocess_exec(
        executable,
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": aws.simulator.url,
            "AWS_CONFIG_FILE": os.devnull,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out) if out.strip() else {}


async def test_aws_cli_lists_accounts_sets_and_users(executable: str, aws: Aws) -> None:
    accounts = await run(executable, aws, "organizations", "list-accounts")
    assert len(accounts["Accounts"]) == 120
    instance = (await run(executable, aws, "sso-admin", "list-instances"))["Instances"][0]
    arn = instance["InstanceArn"]
    sets = await run(executable, aws, "sso-admin", "list-permission-sets", "--instance-arn", arn)
    assert len(sets["PermissionSets"]) == 25
    store = instance["IdentityStoreId"]
    users = await run(executable, aws, "identitystore", "list-users", "--identity-store-id", store)
    assert [user["UserName"] for user in users["Users"] if user["UserStatus"] == "DISABLED"] == ["leaver"]


async def test_aws_cli_creates_lists_and_deletes_an_assignment(executable: str, aws: Aws) -> None:
    names = aws.assignment()
    instance = ["--instance-arn", aws.simulator.directory.instance.arn]
    target = ["--target-id", names["TargetId"], "--target-type", "AWS_ACCOUNT"]
    principal = ["--principal-type", "USER", "--principal-id", names["PrincipalId"]]
    permission_set = ["--permission-set-arn", names["PermissionSetArn"]]
    what = [*instance, *target, *principal, *permission_set]
    look = ["list-account-assignments", *instance, "--account-id", names["TargetId"], *permission_set]

    made = await run(executable, aws, "sso-admin", "create-account-assignment", *what)
    assert made["AccountAssignmentCreationStatus"]["Status"] == "IN_PROGRESS"
    aws.clock.advance(5)
    rows = (await run(executable, aws, "sso-admin", *look))["AccountAssignments"]
    assert [row["PrincipalId"] for row in rows] == [names["PrincipalId"]]
    gone = await run(executable, aws, "sso-admin", "delete-account-assignment", *what)
    request = gone["AccountAssignmentDeletionStatus"]["RequestId"]
    aws.clock.advance(5)
    asked = ["describe-account-assignment-deletion-status", *instance]
    ended = await run(
        executable, aws, "sso-admin", *asked, "--account-assignment-deletion-request-id", request
    )
    assert ended["AccountAssignmentDeletionStatus"]["Status"] == "SUCCEEDED"
    assert (await run(executable, aws, "sso-admin", *look))["AccountAssignments"] == []
