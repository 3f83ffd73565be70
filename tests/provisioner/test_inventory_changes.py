import pytest

from services.provisioner.commands.inventory import SyncResult, confirm_hold
from services.provisioner.inventory.sync import HalfRead, InventorySync
from shared.context import Context
from shared.contracts import documents as doc
from shared.contracts.change import Origin
from shared.contracts.configuration import InventoryConfirmed
from shared.foundation.errors import NotFound, NotReady
from simulator.server import Simulator
from tests.support.aws import operations
from tests.support.facts import somebody
from tests.support.harness import NOW
from tests.support.inventory import alerts, changed_keys, published, stored

SOME_PAGES = 40
"""Pages of a list, and calls about a set, of which a later one failed."""


async def test_sync_again_without_a_change_writes_nothing(sync: InventorySync, context: Context) -> None:
    await sync.sync_once(context)
    before = await published(context)
    result = await sync.sync_once(context)
    assert (result.changed, result.removed, await published(context)) == ((), (), before)


async def test_sync_writes_only_what_is_different(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    aws.edit(action="tag_account", account="orders-dev", key="env", value="test")
    aws.edit(action="move_account", account="orders-test", unit="sandbox")
    aws.edit(action="add_member", user="ann", group="managers")
    find = aws.directory
    assert changed_keys(await sync.sync_once(context)) == {
        f"account/{find.find_account('orders-dev').id}",
        f"account/{find.find_account('orders-test').id}",
        f"membership/{doc.shard_of(find.find_group('managers').id, find.find_user('ann').id)}",
    }


async def test_sync_stores_users_that_were_disabled_or_deleted(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    bob, eve = (aws.directory.find_user(name).id for name in ("bob", "eve"))
    aws.edit(action="disable_user", user="bob")
    aws.edit(action="delete_user", user="eve")
    result = await sync.sync_once(context)
    assert f"user/{eve}" in {document.key for document in result.removed}
    assert all(document.deleted for document in result.removed)
    users = await stored(context, doc.User)
    assert eve not in users
    assert not users[bob].enabled
    assert eve not in {
        member for shard in (await stored(context, doc.Membership)).values() for member in shard.members
    }


async def test_sync_stores_what_became_of_an_account(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    lost = aws.directory.find_account("orders-dev").id
    aws.edit(action="set_account_state", account="orders-dev", state="SUSPENDED")
    assert changed_keys(await sync.sync_once(context)) == {f"account/{lost}"}
    aws.edit(action="set_account_state", account="orders-dev", state="CLOSED")
    await sync.sync_once(context)
    assert (await stored(context, doc.Account))[lost].state == "CLOSED"


async def test_sync_stores_sets_that_allow_something_else_under_another_digest(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    edited, gone = (aws.directory.find_set(name).arn.rsplit("/", 1)[1] for name in ("KeyAdmin", "Auditor"))
    before = (await stored(context, doc.PermissionSet))[edited].digest
    aws.directory.change("permission_sets", aws.directory.find_set("Billing").arn, description="Money")
    aws.edit(
        action="edit_set",
        permission_set="KeyAdmin",
        inline_policy='{"Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}',
    )
    aws.edit(action="delete_set", permission_set="Auditor")
    result = await sync.sync_once(context)
    after = await stored(context, doc.PermissionSet)
    assert after[edited].digest != before
    assert gone not in after
    assert len(result.changed) == 2


async def test_sync_makes_changes_known_here_before_the_broker_does(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    ann = aws.directory.find_user("ann").id
    assert context.policy.known().get(doc.User, ann) is not None
    aws.edit(action="delete_user", user="ann")
    await sync.sync_once(context)
    assert context.policy.known().get(doc.User, ann) is None


async def test_sync_of_an_account_that_came_back_takes_it_in_again(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    """An account that left the organisation and joined again keeps AWS's id."""
    await sync.sync_once(context)
    left = aws.directory.find_account("loyalty-dev")
    del aws.directory.accounts[left.id]
    await sync.sync_once(context)
    assert context.policy.known().get(doc.Account, left.id) is None
    aws.directory.accounts[left.id] = left
    result = await sync.sync_once(context)
    assert changed_keys(result) == {f"account/{left.id}"}
    assert context.policy.known().get(doc.Account, left.id) is not None


async def test_sync_where_many_disappear_keeps_the_old_copy_until_confirmed(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    before = await published(context)
    vanishing = list(aws.directory.users)[:16]
    for user in vanishing:
        aws.edit(action="delete_user", user=user)
    result = await sync.sync_once(context)
    assert result.held == "16 of 300 users disappeared at once"
    assert (result.changed, result.removed, await published(context)) == ((), (), before)
    assert "inventory_held" in alerts(context)
    root = somebody("root")
    assert result.hold is not None
    confirmed = await confirm(context, result.hold, Origin(root, at=NOW, cause="request-1"))
    assert {document.id for document in confirmed.removed if document.kind == "user"} == set(vanishing)
    assert confirmed.held is None
    (fact,) = await confirmations(context)
    assert (fact.actor, fact.cause, fact.subject) == (root, "request-1", root.user_id)
    assert (fact.removed, fact.why) == ({"user": 16}, "16 disappeared at once")
    assert "inventory_held" not in alerts(context)


async def confirm(context: Context, hold: str, origin: Origin) -> SyncResult:
    async with context.unit_of_work() as work:
        return await confirm_hold(context, work, hold, origin)


async def confirmations(context: Context) -> list[InventoryConfirmed]:
    rows = await context.pool.fetch(
        "SELECT payload FROM outbox WHERE type = $1 ORDER BY id", InventoryConfirmed.TYPE
    )
    return [InventoryConfirmed.model_validate_json(row["payload"]) for row in rows]


async def test_sync_where_they_are_back_clears_the_hold(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    groups = dict(aws.directory.groups)
    for group in list(groups)[:6]:
        del aws.directory.groups[group]
    assert (await sync.sync_once(context)).held == "6 of 40 groups disappeared at once"
    aws.directory.groups.update(groups)
    assert (await sync.sync_once(context)).held is None
    assert "inventory_held" not in alerts(context)
    with pytest.raises(NotFound):
        await confirm(context, "whatever", Origin(somebody("root"), at=NOW))
    assert await confirmations(context) == [], "what nobody was asked about is no fact"


@pytest.mark.parametrize(("vanish", "held"), [(14, False), (15, False), (16, True)])
async def test_sync_holds_above_the_share_and_not_at_it(
    aws: Simulator, sync: InventorySync, context: Context, vanish: int, held: bool
) -> None:
    await sync.sync_once(context)
    for user in list(aws.directory.users)[:vanish]:
        aws.edit(action="delete_user", user=user)
    assert ((await sync.sync_once(context)).held is not None) == held


@pytest.mark.parametrize(
    "operation",
    ["ListUsers", "ListGroupMemberships", "DescribePermissionSet", "ListTagsForResource", "ListAccounts"],
)
async def test_sync_that_fails_in_the_middle_goes_on_where_it_was(
    aws: Simulator, sync: InventorySync, context: Context, operation: str
) -> None:
    await sync.sync_once(context)
    before, calls = await published(context), len(operations(aws))
    aws.edit(action="disable_user", user="ann")
    aws.edit(action="tag_account", account="orders-dev", key="env", value="test")
    aws.fault(operation=operation, kind="error", code="AccessDeniedException", probability=0.5, seed=1)
    with pytest.raises(HalfRead):
        await sync.sync_once(context)
    aws.faults.clear()
    await sync.sync_once(context)
    assert await published(context) == before + 2, "all of it, and nothing twice"
    failed = sum(row["error"] is not None for row in aws.records.calls)
    read_anew = len(operations(aws)) - failed - 2 * calls
    assert read_anew <= SOME_PAGES, "what was read is not read again"


async def test_sync_that_cannot_write_changes_nothing_here(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    aws.edit(action="disable_user", user="ann")
    pool = context.pool
    context.set_pool(None)
    with pytest.raises(NotReady):
        await sync.sync_once(context)
    context.set_pool(pool)
    ann = context.policy.known().user(aws.directory.find_user("ann").id)
    assert ann is not None
    assert ann.enabled
