import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.provisioner.driver import AwsPrincipal, DriverProblem, Request, UserStatus
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import IdentityCenterError
from simulator import organizations
from simulator.server import Simulator
from tests.support.aws import (
    CREDENTIALS,
    REGION,
    Turns,
    adapter,
    assignment_key,
    failure,
    finish,
    operations,
    simulated_aws,
)


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    async with simulated_aws() as simulator:
        yield simulator


@pytest.fixture
async def centre(aws: Simulator) -> AsyncIterator[IdentityCenter]:
    async with adapter(aws) as centre:
        yield centre


async def test_create_then_delete_reads_back_each_step(aws: Simulator, centre: IdentityCenter) -> None:
    wanted = assignment_key(aws)
    me = AwsPrincipal("USER", wanted.user_id)
    created = await centre.create(wanted)
    assert (created.kind, created.status, created.key) == ("create", "IN_PROGRESS", wanted)
    assert me not in await centre.holders(wanted.account_id, wanted.set_arn)
    finish(aws)
    assert (await centre.follow("create", created.request_id)).status == "SUCCEEDED"
    assert me in await centre.holders(wanted.account_id, wanted.set_arn)
    deleted = await centre.delete(wanted)
    finish(aws)
    assert (await centre.follow("delete", deleted.request_id)).status == "SUCCEEDED"
    assert me not in await centre.holders(wanted.account_id, wanted.set_arn)


async def test_request_times_are_utc(aws: Simulator, centre: IdentityCenter) -> None:
    created = (await centre.create(assignment_key(aws))).created_at
    assert created is not None
    assert created.utcoffset() == timedelta(0)
    assert created.timestamp() == pytest.approx(aws.clock.now())


async def test_request_that_failed_says_awss_reason(aws: Simulator, centre: IdentityCenter) -> None:
    aws.fault(operation="CreateAccountAssignment", kind="fail_async", reason="role limit reached")
    created = await centre.create(assignment_key(aws))
    finish(aws)
    ended = await centre.follow("create", created.request_id)
    assert (ended.status, ended.reason) == ("FAILED", "role limit reached")


async def test_request_of_the_other_kind_is_not_found(aws: Simulator, centre: IdentityCenter) -> None:
    created = await centre.create(assignment_key(aws))
    assert (await failure(centre.follow("delete", created.request_id))).problem is DriverProblem.NOT_FOUND


async def test_outstanding_with_small_pages_lists_every_request(
    centre: IdentityCenter, aws: Simulator
) -> None:
    aws.change_settings(page_limit=2)
    accounts = ("orders-prod", "orders-dev", "orders-test", "search-dev", "search-test")
    sent = [await centre.create(assignment_key(aws, account=name)) for name in accounts]
    listed = await centre.outstanding("create")
    assert {found.request_id for found in listed} == {found.request_id for found in sent}
    assert all(isinstance(found, Request) and found.key is None for found in listed)
    assert await centre.outstanding("delete") == []


async def test_holders_with_small_pages_lists_everybody(aws: Simulator, centre: IdentityCenter) -> None:
    aws.change_settings(page_limit=1)
    for name in ("ann", "bob", "carl"):
        aws.edit(action="add_assignment", user=name, account="orders-prod", permission_set="Administrator")
    aws.edit(action="add_assignment", group="dev", account="orders-prod", permission_set="Administrator")
    wanted = assignment_key(aws)
    found = await centre.holders(wanted.account_id, wanted.set_arn)
    assert sorted(principal.kind for principal in found) == ["GROUP", "USER", "USER", "USER"]


async def test_delete_of_nothing_is_not_found_and_unambiguous(aws: Simulator, centre: IdentityCenter) -> None:
    error = await failure(centre.delete(assignment_key(aws)))
    assert (error.problem, error.ambiguous) == (DriverProblem.NOT_FOUND, False)


async def test_user_tells_enabled_disabled_and_gone(aws: Simulator, centre: IdentityCenter) -> None:
    ann, leaver = aws.directory.find_user("ann").id, aws.directory.find_user("leaver").id
    assert await centre.user(ann) == UserStatus(enabled=True)
    assert await centre.user(leaver) == UserStatus(enabled=False)
    aws.edit(action="delete_user", user="ann")
    assert await centre.user(ann) is None


async def test_account_state_tells_awss_word_or_none(aws: Simulator, centre: IdentityCenter) -> None:
    closing = aws.directory.find_account("loyalty-dev").id
    aws.edit(action="set_account_state", account="loyalty-dev", state="PENDING_CLOSURE")
    assert await centre.account_state(closing) == "PENDING_CLOSURE"
    assert await centre.account_state(aws.directory.find_account("old-webshop").id) == "SUSPENDED"
    assert await centre.account_state("000000000000") is None


async def test_instance_named_in_settings_but_absent_says_what_there_is(aws: Simulator) -> None:
    centre = IdentityCenter(
        region=REGION,
        endpoint=aws.url,
        credentials=CREDENTIALS,
        instance_arn="arn:aws:sso:::instance/ssoins-0000000000000000",
    )
    async with centre:
        error = await failure(centre.instance())
    assert error.problem is DriverProblem.INVALID
    assert aws.directory.instance.arn in error.detail


async def test_instance_is_asked_for_once(aws: Simulator, centre: IdentityCenter) -> None:
    await centre.instance()
    await centre.outstanding("create")
    assert operations(aws).count("ListInstances") == 1


async def test_accounts_with_an_empty_first_page_are_all_read(aws: Simulator, centre: IdentityCenter) -> None:
    aws.change_settings(empty_first_pages=True, page_limit=7)
    assert len((await centre.accounts()).documents) == len(aws.directory.accounts)
    assert len(await centre.roots()) == 1


async def test_pages_that_repeat_a_token_are_an_error(
    aws: Simulator, centre: IdentityCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        organizations.OPERATIONS, "ListAccounts", lambda _call: {"Accounts": [], "NextToken": "again"}
    )
    assert (await failure(centre.accounts())).code == "TokenRepeated"


async def test_every_call_and_page_asks_the_limiter_with_its_priority(aws: Simulator) -> None:
    turns = Turns()
    aws.change_settings(page_limit=40)
    async with adapter(aws, limiter=turns) as centre:
        wanted = assignment_key(aws)
        await centre.create(wanted)
        finish(aws)
        await centre.holders(wanted.account_id, wanted.set_arn)
        await centre.delete(wanted)
        await centre.outstanding("delete")
        await centre.user(wanted.user_id)
        await centre.accounts()
    assert turns.asked == ["poll", "create", "verify", "revoke", "poll", "grant", *["catalog"] * 6]
    assert turns.services == [call["service"] for call in aws.records.calls]


async def test_calls_are_counted_by_outcome(aws: Simulator, centre: IdentityCenter) -> None:
    def count(outcome: str) -> float:
        labels = {"api": "sso-admin", "operation": "DeleteAccountAssignment", "outcome": outcome}
        return REGISTRY.get_sample_value("jit_aws_calls_total", labels) or 0

    before = count("not_found"), count("ok")
    await failure(centre.delete(assignment_key(aws)))
    assert (count("not_found"), count("ok")) == (before[0] + 1, before[1])


async def test_open_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    error = await failure(IdentityCenter(region=REGION).open())
    assert (error.problem, error.code) == (DriverProblem.DENIED, "NoCredentials")


async def test_close_twice_and_call_again_opens_anew(aws: Simulator, centre: IdentityCenter) -> None:
    await centre.close()
    await centre.close()
    assert len((await centre.accounts()).documents) == len(aws.directory.accounts)


async def test_endpoint_in_the_environment_is_ignored(
    aws: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    async with adapter(aws) as centre:
        assert (await centre.instance()).arn == aws.directory.instance.arn
    async with IdentityCenter(region=REGION, credentials=CREDENTIALS) as real:
        urls = {client.meta.endpoint_url for client in real._calls._clients.values()}
    assert all(url.startswith("https://") and ".amazonaws.com" in url for url in urls)


async def test_caller_names_itself_and_not_its_machine() -> None:
    """As CloudTrail keeps it; the SDK's own name tells of kernel and Python."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        async with IdentityCenter(region=REGION, endpoint=endpoint, credentials=CREDENTIALS) as centre:
            with pytest.raises(IdentityCenterError):
                await centre.account_state("111111111111")
    [agent] = {line for line in heard[0].splitlines() if line.lower().startswith(b"user-agent:")}
    ours, *sdks = agent.split(b": ")[1].split()
    assert ours == b"jit-access"
    assert [name.split(b"/")[0] for name in sdks] == [b"botocore"]
