import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.provisioner.identity_center.adapter import IdentityCenter
from simulator.server import Simulator
from tests.support.aws import adapter, simulated_aws


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    async with simulated_aws() as simulator:
        yield simulator


@pytest.fixture
async def centre(aws: Simulator) -> AsyncIterator[IdentityCenter]:
    async with adapter(aws) as centre:
        yield centre


async def test_permission_set_digest_follows_what_it_allows_only(
    aws: Simulator, centre: IdentityCenter
) -> None:
    arn = aws.directory.find_set("QueueOperator").arn

    async def digest() -> str:
        found = await centre.permission_set(arn)
        assert found is not None
        return found.digest

    seen = [await digest()]
    policy = json.loads(aws.directory.permission_sets[arn].inline_policy)
    spaced = json.dumps(dict(reversed(policy.items())), indent=4)
    aws.directory.change("permission_sets", arn, inline_policy=spaced, description="other", tags={"a": "b"})
    assert await digest() == seen[0]
    for change in (
        {"inline_policy": ""},
        {"session_duration": "PT1H30M"},
        {"managed_policies": ("arn:aws:iam::aws:policy/ReadOnlyAccess",)},
        {"customer_policies": (("mine", "/"),)},
        {"customer_policies": (("mine", "/other/"),)},
        {"boundary_policy": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    ):
        aws.directory.change("permission_sets", arn, **change)
        seen.append(await digest())
    assert len(set(seen)) == len(seen)
    aws.directory.change("permission_sets", arn, managed_policies=("arn:x/b", "arn:x/a"))
    one = await digest()
    aws.directory.change("permission_sets", arn, managed_policies=("arn:x/a", "arn:x/b"))
    assert await digest() == one


async def test_permission_set_is_described_for_people(aws: Simulator, centre: IdentityCenter) -> None:
    names = ("SecurityResponder", "Developer", "QueueOperator", "BreakGlass")
    found = [await centre.permission_set(aws.directory.find_set(name).arn) for name in names]
    summaries = [one.summary for one in found if one]
    assert summaries[0] == ("SecurityAudit", "customer policy /incident-response")
    assert summaries[1] == ("PowerUserAccess", "at most PowerUserAccess (boundary)")
    assert summaries[2] == ("inline: Allow sqs:*, sns:Publish on *",)
    assert found[3] is not None
    assert found[3].session_duration == timedelta(hours=12)
    assert found[3].tags == {"jit-managed": "true"}


async def test_permission_set_deleted_meanwhile_is_none(aws: Simulator, centre: IdentityCenter) -> None:
    arn = aws.directory.find_set("KeyAdmin").arn
    aws.edit(action="delete_set", permission_set="KeyAdmin")
    assert await centre.permission_set(arn) is None


async def test_members_of_a_group_that_is_gone_is_none(aws: Simulator, centre: IdentityCenter) -> None:
    group = aws.directory.find_group("dev").id
    assert await centre.members(group) == tuple(
        sorted(aws.directory.find_user(name).id for name in ("ann", "bob", "eve"))
    )
    aws.edit(action="delete_group", group="dev")
    assert await centre.members(group) is None
