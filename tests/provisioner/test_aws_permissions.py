"""IAM policies: neither too narrow nor too wide for what is called, and the page shows what is printed."""

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.provisioner.identity_center import api_operations
from services.provisioner.identity_center.api_operations import OPERATIONS, ApiOperation
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.identity_center.permissions import Scope, policy
from services.provisioner.inventory.sync import InventorySync
from shared.contracts import access
from shared.observability.alerts import SnsChannel
from simulator import organizations
from tests.cli.test_main import jit
from tests.support.aws import shrink
from tests.support.provisioner_lab import Lab, connected

PERMISSIONS = Path(__file__).parents[2] / "docs" / "aws-permissions.md"
PREFIXES = {"sso-admin": "sso", "identitystore": "identitystore", "organizations": "organizations"}
INSTANCE = "arn:aws:sso:::instance/ssoins-1234567890abcdef"
TOPIC = "arn:aws:sns:eu-central-1:111111111111:jit-alerts"
SET = "arn:aws:sso:::permissionSet/ssoins-1234567890abcdef/ps-1234567890abcdef"
ACCOUNT = "arn:aws:sso:::account/111111111111"
ASSIGNING = ("sso:CreateAccountAssignment", "sso:DeleteAccountAssignment")


def actions(document: Mapping[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def allows(document: Mapping[str, Any], action: str, resource: str, tags: Mapping[str, str]) -> bool:
    """As IAM weighs a call: some statement allows the action on the resource, its condition included."""
    return any(
        action in statement["Action"]
        and any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"]))
        and all(
            tags.get(key.removeprefix("aws:ResourceTag/")) == value
            for key, value in statement.get("Condition", {}).get("StringEquals", {}).items()
        )
        for statement in document["Statement"]
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def resources_of(call: Mapping[str, Any]) -> list[str]:
    """What a call is about, where IAM wants it named."""
    if call["operation"] not in {"CreateAccountAssignment", "DeleteAccountAssignment"}:
        return ["*"]
    params = call["params"]
    account = f"arn:aws:sso:::account/{params['TargetId']}"
    return [params["InstanceArn"], account, params["PermissionSetArn"]]


def called(calls: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {
        (f"{PREFIXES[call['service']]}:{call['operation']}", resource)
        for call in calls
        for resource in resources_of(call)
    }


async def whole_life(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory is read, also where lists have no paths; access is given, taken, and seen gone."""
    list_accounts = organizations.OPERATIONS["ListAccounts"]

    def without_paths(call: Any) -> dict[str, Any]:
        answer = list_accounts(call)
        for row in answer["Accounts"]:
            del row["Paths"]
        return answer

    shrink(lab.aws)
    monkeypatch.setitem(organizations.OPERATIONS, "ListAccounts", without_paths)
    centre = connected(lab.aws, unlimited)
    await InventorySync(centre).sync_once(lab.context)
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    revoked = await lab.run_until(access.AccessRevoked)
    assert granted.request_id is not None
    assert revoked.request_id is not None
    await centre.follow("create", granted.request_id)  # as for a request that is in no list
    await centre.follow("delete", revoked.request_id)
    await centre.close()


async def test_whole_life_of_access_is_allowed_and_nothing_is_allowed_besides(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await whole_life(lab, monkeypatch)
    calls = called(lab.aws.records.calls)
    instance = lab.aws.directory.instance.arn
    document = policy("provisioner", Scope(instance, accounts=(lab.account(),)))
    tags = {"jit-managed": "true"}
    refused = {
        call for call in calls if not allows(document, *call, tags if "permissionSet" in call[1] else {})
    }
    assert refused == set()
    assert actions(document) == {action for action, _ in calls}


async def test_reader_may_read_all_and_change_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await whole_life(lab, monkeypatch)
    read = {action for action, _ in called(lab.aws.records.calls)} - set(ASSIGNING)
    assert actions(policy("reader", Scope(INSTANCE))) == read


@pytest.mark.parametrize(
    ("scope", "resource", "tags", "allowed"),
    [
        (Scope(INSTANCE), INSTANCE, {}, True),
        (Scope(INSTANCE), INSTANCE.replace("1234", "9999"), {}, False),
        (Scope(INSTANCE), ACCOUNT, {}, True),
        (Scope(INSTANCE, accounts=("111111111111",)), ACCOUNT, {}, True),
        (Scope(INSTANCE, accounts=("222222222222",)), ACCOUNT, {}, False),
        (Scope(INSTANCE), SET, {"jit-managed": "true"}, True),
        (Scope(INSTANCE), SET, {"jit-managed": "false"}, False),
        (Scope(INSTANCE), SET, {}, False),
        (Scope(INSTANCE), SET.replace("1234", "9999"), {"jit-managed": "true"}, False),
        (Scope(INSTANCE, tag=("team", "a")), SET, {"jit-managed": "true"}, False),
        (Scope(INSTANCE, tag=("team", "a")), SET, {"team": "a"}, True),
        (Scope(INSTANCE, tag=None), SET, {}, True),
    ],
)
def test_assigning_is_allowed_where_the_scope_says(
    scope: Scope, resource: str, tags: dict[str, str], *, allowed: bool
) -> None:
    document = policy("provisioner", scope)
    assert [allows(document, action, resource, tags) for action in ASSIGNING] == [allowed, allowed]


def test_partition_is_the_instances() -> None:
    text = json.dumps(policy("provisioner", Scope(INSTANCE.replace("arn:aws:", "arn:aws-us-gov:"))))
    assert "arn:aws-us-gov:sso:::account/*" in text
    assert "arn:aws:" not in text


async def test_alerts_call_what_the_policy_for_sns_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        form = await request.post()
        seen.append((f"sns:{form['Action']}", str(form["TopicArn"])))
        return web.Response(
            text="<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
            content_type="text/xml",
        )

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        await SnsChannel(TOPIC, endpoint=f"http://{host}:{port}").send("subject", "text")
    finally:
        await runner.cleanup()
    document = policy("sns", Scope(INSTANCE, topic_arn=TOPIC))
    assert actions(document) == {action for action, _ in seen}
    assert all(allows(document, action, resource, {}) for action, resource in seen)
    assert not allows(document, "sns:Publish", TOPIC.replace("alerts", "others"), {})


def test_table_of_operations_is_complete() -> None:
    named = {value for value in vars(api_operations).values() if isinstance(value, ApiOperation)}
    assert named == set(OPERATIONS), "every operation that has a name here belongs into OPERATIONS"


# what is printed, and the page


def documented(heading: str) -> Any:
    text = PERMISSIONS.read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}$.*?```json\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/aws-permissions.md has no policy under '## {heading}'"
    return found[1]


@pytest.mark.parametrize(
    ("heading", "arguments"),
    [
        ("Reader", ("reader",)),
        ("Provisioner", ("provisioner",)),
        ("Alerts by SNS", ("sns", "--topic-arn", TOPIC)),
    ],
)
def test_page_shows_what_the_command_prints(heading: str, arguments: tuple[str, ...]) -> None:
    printed = jit("iam-policy", *arguments)
    assert printed.exit_code == 0
    assert documented(heading) == printed.stdout, "copy what `jit iam-policy` prints into the page"


def test_printed_policy_follows_the_options() -> None:
    printed = jit(
        "iam-policy", "provisioner", "--instance-arn", INSTANCE, "--tag", "team=a b",
        "--account", "111111111111", "--account", "222222222222",
    )  # fmt: skip
    wanted = Scope(INSTANCE, accounts=("111111111111", "222222222222"), tag=("team", "a b"))
    assert json.loads(printed.stdout) == policy("provisioner", wanted)
    untagged = jit("iam-policy", "provisioner", "--instance-arn", INSTANCE, "--tag", "any")
    assert json.loads(untagged.stdout) == policy("provisioner", Scope(INSTANCE, tag=None))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("writer",), "choose of reader, provisioner, sns"),
        (("sns",), "--topic-arn"),
        (("provisioner", "--account", "*"), "--account cannot be *"),
        (("provisioner", "--instance-arn", "arn:aws:sso:::instance/*"), "--instance-arn"),
        (("provisioner", "--tag", "team=*"), "--tag"),
        (("provisioner", "--tag", "team=${aws:username}"), "--tag"),
        (("sns", "--topic-arn", "arn:aws:sns:eu-central-1:111111111111:*"), "--topic-arn"),
    ],
)
def test_what_would_be_wider_than_it_says_is_refused(arguments: tuple[str, ...], named: str) -> None:
    refused = jit("iam-policy", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert named in refused.stderr
