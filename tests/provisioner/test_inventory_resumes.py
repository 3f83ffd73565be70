"""A reading in parts: what it survives, what a second one costs, and how old the directory is said to be."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.commands.inventory import directory_read_at
from services.provisioner.domain.readings import Part, PartKey, Slice
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.inventory.sync import HalfRead, InventorySync
from shared.context import Context
from shared.contracts import documents as doc
from shared.contracts.documents import Marker
from shared.foundation.clock import ManualClock
from shared.foundation.errors import NotReady
from shared.messaging.outbox import MARKER_TYPE
from simulator import identity_store
from simulator.server import Simulator
from tests.support.aws import operations
from tests.support.harness import NOW
from tests.support.inventory import alerts, changed_keys, published, stored
from tests.support.waiting import until

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def advance(context: Context, by: timedelta) -> None:
    assert isinstance(context.clock, ManualClock)
    context.clock.advance(by)


async def kill_after(aws: Simulator, sync: InventorySync, context: Context, calls: int) -> None:
    """Let a reading make so many calls at least, and no more."""
    reading = asyncio.ensure_future(sync.sync_once(context))
    await until(lambda: len(operations(aws)) >= calls)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


@pytest.mark.parametrize("calls", [3, 40, 90])
async def test_reading_that_was_killed_goes_on_where_it_was(
    aws: Simulator, centre: IdentityCenter, context: Context, calls: int
) -> None:
    await kill_after(aws, InventorySync(centre), context, calls)
    await InventorySync(centre).sync_once(context)
    assert len(await stored(context, doc.Account)) == len(aws.directory.accounts)
    twice = {name: count for name, count in asked(aws).items() if count > 1}
    assert sum(count - 1 for count in twice.values()) <= 3 * 6, f"only what was being read: {twice}"


def asked(aws: Simulator) -> Counter[str]:
    return Counter(f"{row['operation']} {sorted(row['params'].items())}" for row in aws.records.calls)


async def test_start_soon_after_a_reading_reads_nothing_and_a_later_one_everything(
    aws: Simulator, centre: IdentityCenter, context: Context
) -> None:
    await InventorySync(centre).sync_once(context)
    calls = len(operations(aws))
    advance(context, timedelta(minutes=9))
    await InventorySync(centre).sync_once(context)
    assert len(operations(aws)) == calls
    advance(context, MINUTE)
    await InventorySync(centre).sync_once(context)
    assert len(operations(aws)) >= 2 * calls - 2


async def test_start_comes_up_with_what_is_stored_when_aws_is_away(
    aws: Simulator, centre: IdentityCenter, context: Context
) -> None:
    await kill_after(aws, InventorySync(centre), context, 90)
    aws.fault(operation="*", kind="error", code="AccessDeniedException")
    known = await published(context)
    with pytest.raises(HalfRead):
        await InventorySync(centre).sync_once(context)
    assert await published(context) >= known


async def test_nothing_is_published_before_every_group_has_its_members(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    """Whoever is in none of a scope's groups is denied nothing."""
    aws.fault(operation="ListGroupMemberships", kind="error", code="AccessDeniedException", times=1)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert await published(context) == 0
    await sync.sync_once(context)
    assert len(await stored(context, doc.Group)) == len(aws.directory.groups)


async def test_accounts_appear_once_their_tags_are_read(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    """Without its tags an account would escape the rules that name them."""
    aws.fault(operation="ListTagsForResource", kind="error", code="AccessDeniedException", times=9)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    accounts = await stored(context, doc.Account)
    tagged = {account.id for account in aws.directory.accounts.values() if account.tags}
    assert {account.id for account in accounts.values() if account.tags} == tagged & accounts.keys()
    assert len(await stored(context, doc.User)) == len(aws.directory.users)
    await sync.sync_once(context)
    assert len(await stored(context, doc.Account)) == len(aws.directory.accounts)


async def test_api_that_fails_holds_up_no_other(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    aws.fault(operation="ListAccounts", kind="error", code="AccessDeniedException")
    aws.edit(action="disable_user", user="ann")
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert not (await stored(context, doc.User))[aws.directory.find_user("ann").id].enabled


async def test_details_that_all_fail_are_given_up_until_the_next_attempt(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    aws.fault(operation="DescribePermissionSet", kind="error", code="AccessDeniedException")
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert operations(aws).count("DescribePermissionSet") == 5


async def test_caller_of_a_long_reading_is_told_and_it_goes_on_without_them(
    aws: Simulator, centre: IdentityCenter, context: Context
) -> None:
    sync = InventorySync(centre, answer_within_s=0.001)
    async with sync.turn():
        with pytest.raises(NotReady) as refused:
            await sync.read_for_caller(context)
    assert refused.value.code == "still_reading"
    assert sync.wanted.is_set(), "the task beside the requests goes on at once"
    await sync.sync_once(context)
    assert len(await stored(context, doc.Account)) == len(aws.directory.accounts)


async def test_caller_waits_for_no_reading_for_ever(centre: IdentityCenter) -> None:
    sync = InventorySync(centre, answer_within_s=0.01)
    async with sync.one_at_a_time:
        with pytest.raises(NotReady) as refused:
            async with sync.turn():
                pass
    assert refused.value.code == "still_reading"


async def test_user_without_a_name_is_left_out_and_alerted_and_the_rest_is_read(
    aws: Simulator, sync: InventorySync, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync.sync_once(context)
    ann, eve = (aws.directory.find_user(name).id for name in ("ann", "eve"))
    listing = identity_store.OPERATIONS["ListUsers"]

    def nameless(call: Any) -> dict[str, Any]:
        answer = listing(call)
        for row in answer["Users"]:
            if row["UserId"] == ann:
                del row["UserName"]
        return answer

    monkeypatch.setitem(identity_store.OPERATIONS, "ListUsers", nameless)
    aws.edit(action="disable_user", user="eve")
    assert changed_keys(await sync.sync_once(context)) == {f"user/{eve}"}, "the copy of ann stays"
    assert "inventory_left_out" in alerts(context)
    (alert,) = [one for one in context.alerts.active if one.key == "inventory_left_out"]
    assert f"user/{ann}: 'UserName' is missing" in alert.detail
    monkeypatch.undo()
    await sync.sync_once(context)
    assert "inventory_left_out" not in alerts(context)


async def test_what_disappeared_is_believed_by_a_reading_that_agrees_an_hour_later(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    gone = list(aws.directory.users)[:16]
    for user in gone:
        aws.edit(action="delete_user", user=user)
    assert (await sync.sync_once(context)).held == "16 of 300 users disappeared at once"
    advance(context, HOUR - MINUTE)
    assert (await sync.sync_once(context)).held is not None
    advance(context, MINUTE)
    result = await sync.sync_once(context)
    assert (result.held, {one.id for one in result.removed if one.kind == "user"}) == (None, set(gone))
    assert "inventory_held" not in alerts(context)
    assert await context.pool.fetchval("SELECT count(*) FROM inventory_missing") == 0


async def test_what_disappeared_later_has_an_hour_of_its_own(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    first, second = list(aws.directory.users)[:16], list(aws.directory.users)[16:40]
    for user in first:
        aws.edit(action="delete_user", user=user)
    await sync.sync_once(context)
    advance(context, HOUR / 2)
    for user in second:
        aws.edit(action="delete_user", user=user)
    await sync.sync_once(context)
    advance(context, HOUR / 2)
    result = await sync.sync_once(context)
    assert {one.id for one in result.removed if one.kind == "user"} == set(first)
    assert result.held == "24 of 284 users disappeared at once"


# how old the directory is


async def read_at(context: Context) -> Any:
    async with context.pool.acquire() as conn:
        return await directory_read_at(conn)


async def test_directory_is_as_old_as_its_oldest_list(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    assert await read_at(context) is None
    await sync.sync_once(context)
    assert await read_at(context) == NOW
    advance(context, 10 * MINUTE)
    aws.fault(operation="ListGroupMemberships", kind="error", code="AccessDeniedException", times=1)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert await read_at(context) == NOW, "one group's members are as they were"
    await sync.sync_once(context)
    assert await read_at(context) == NOW + 10 * MINUTE


async def test_details_make_the_directory_old_an_hour_later(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    aws.fault(operation="ListTagsForResource", kind="error", code="AccessDeniedException")
    advance(context, 2 * HOUR)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert await read_at(context) == NOW + HOUR


async def test_few_details_that_cannot_be_read_make_nothing_old(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    advance(context, 2 * HOUR)
    aws.fault(operation="ListTagsForResource", kind="error", code="AccessDeniedException", times=1)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    assert await read_at(context) == NOW + 2 * HOUR


async def test_marker_says_since_when_the_directory_is_true(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    advance(context, 10 * MINUTE)
    aws.edit(action="disable_user", user="ann")
    await sync.sync_once(context)
    rows = await context.pool.fetch("SELECT payload FROM outbox WHERE type = $1 ORDER BY id", MARKER_TYPE)
    last = Marker.model_validate_json(rows[-1]["payload"])
    assert last.read_at in {NOW, NOW + 10 * MINUTE}
    assert last.at == NOW + 10 * MINUTE


# what a second reading costs


def parts_read(*minutes: int) -> dict[PartKey, Part]:
    """Tags of as many accounts, read so many minutes after NOW."""
    return {
        ("tags", f"a{number}"): Part("tags", f"a{number}", NOW + minute * MINUTE, {}, {})
        for number, minute in enumerate(minutes)
    }


@pytest.mark.parametrize(
    ("least", "share", "expected"),
    [(1, 0.1, ["a2"]), (2, 0.1, ["a2", "a1"]), (1, 0.5, ["a2", "a1"]), (9, 0.1, ["a2", "a1", "a0", "a3"])],
)
def test_slice_is_the_oldest_so_that_all_have_their_turn(
    least: int, share: float, expected: list[str]
) -> None:
    parts = parts_read(20, 10, 0, 30)
    chosen = Slice(least, share, overdue=NOW - HOUR).of(parts.keys(), parts)
    assert [name for _, name in chosen] == expected


def test_slice_has_everything_that_is_new_or_overdue() -> None:
    parts = parts_read(0, 10, 20)
    keys = {*parts, ("tags", "new")}
    chosen = Slice(1, 0.1, overdue=NOW + 15 * MINUTE).of(keys, parts)
    assert [name for _, name in chosen] == ["new", "a0", "a1"]


def test_slice_of_a_reading_that_goes_on_is_less_what_it_has_read() -> None:
    parts = parts_read(0, 10, 20, 30)
    chosen = Slice(3, 0.1, overdue=NOW - HOUR).of(parts.keys(), parts, done={("tags", "a3"), ("tags", "a2")})
    assert [name for _, name in chosen] == ["a0"]


def test_slice_of_a_large_organisation_is_a_sixth_where_an_hour_has_six_readings() -> None:
    parts = parts_read(*[0] * 5000)
    assert len(Slice(300, 10 * MINUTE / HOUR, overdue=NOW).of(parts.keys(), parts)) == 834
