import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.commands.inventory import preload, stored_documents
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.inventory.sync import InventorySync
from shared.context import Context
from shared.contracts import documents as doc
from shared.contracts.documents import Marker
from shared.foundation.clock import ManualClock
from shared.messaging.outbox import MARKER_TYPE
from simulator import organizations
from simulator.server import Simulator
from tests.support.aws import operations
from tests.support.harness import NOW
from tests.support.inventory import alerts, changed_keys, empty_tables, published, stored
from tests.support.waiting import until


async def test_sync_of_the_shipped_organisation_stores_all_of_it(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    result = await sync.sync_once(context)
    directory = aws.directory
    assert {cls.KIND: len(await stored(context, cls)) for cls in (doc.Account, doc.User, doc.Group)} == {
        "account": len(directory.accounts),
        "user": len(directory.users),
        "group": len(directory.groups),
    }
    assert len(await stored(context, doc.PermissionSet)) == len(directory.permission_sets)
    assert len(await stored(context, doc.OrganizationalUnit)) == len(directory.units) + 1
    assert (result.removed, result.held) == ((), None)
    assert len(result.changed) == await published(context)
    assert sync.last_read == NOW


async def test_sync_makes_a_copy_usable_at_once_and_not_with_the_next_marker(
    sync: InventorySync, context: Context
) -> None:
    result = await sync.sync_once(context)
    (marker,) = await context.pool.fetch("SELECT id, payload FROM outbox WHERE type = $1", MARKER_TYPE)
    said = Marker.model_validate_json(marker["payload"])
    assert (said.count, said.revision) == (len(result.changed), max(one.revision for one in result.changed))
    assert marker["id"] == await context.pool.fetchval("SELECT max(id) FROM outbox"), "after what it counts"


async def test_sync_reads_accounts_with_units_tags_state_and_flags(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    accounts = await stored(context, doc.Account)
    units = await stored(context, doc.OrganizationalUnit)
    prod = accounts[aws.directory.find_account("payments-prod").id]
    assert [units[unit].name for unit in prod.ous] == ["Root", "prod", "regulated"]
    assert prod.tags == {"env": "prod", "owner": "team-payments", "criticality": "critical", "pci": "yes"}
    assert (prod.state, prod.management, prod.delegated_administrator) == ("ACTIVE", False, False)
    management = accounts[aws.directory.management]
    assert management.management
    assert [units[unit].name for unit in management.ous] == ["Root"]
    assert accounts[aws.directory.find_account("identity").id].delegated_administrator
    assert accounts[aws.directory.find_account("old-webshop").id].state == "SUSPENDED"


async def test_sync_reads_users_and_groups_as_policy_needs_them(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    users, groups = await stored(context, doc.User), await stored(context, doc.Group)
    ann = users[aws.directory.find_user("ann").id]
    assert (ann.user_name, ann.display_name, ann.email) == ("ann", "Ann Lindqvist", "ann@example.com")
    assert ann.enabled
    assert [found.issuer for found in ann.external_ids] == ["https://idp.example.com"]
    assert not users[aws.directory.find_user("leaver").id].enabled
    owners = groups[aws.directory.find_group("owners-prod").id]
    people = {aws.directory.find_user(name).id for name in ("carl", "cora")}
    assert context.policy.known().members_of(owners.id) == people


async def test_sync_with_small_and_empty_pages_reads_the_same(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    aws.change_settings(page_limit=3, empty_first_pages=True)
    result = await sync.sync_once(context)
    assert (result.changed, result.removed) == ((), ())


async def test_sync_costs_a_known_number_of_calls(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    made, directory = operations(aws), aws.directory
    sets, accounts, groups = (len(directory.permission_sets), len(directory.accounts), len(directory.groups))
    per_set, per_account, per_group = 6 * sets, accounts, groups
    pages = -(-accounts // 20) + -(-len(directory.users) // 100)
    # the instance, the list of sets, of groups, the organisation, its delegates, the roots; a call a unit
    rest = 6 + (len(directory.units) + 1)
    large_groups = sum(len(list(directory.members_of(group))) > 100 for group in directory.groups)
    assert len(made) <= per_set + per_account + per_group + pages + rest + 2 * large_groups
    assert made.count("CreateAccountAssignment") == 0


async def test_sync_where_awss_lists_have_no_paths_asks_for_parents(
    aws: Simulator, sync: InventorySync, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync.sync_once(context)
    listing = organizations.OPERATIONS["ListAccounts"]

    def without_paths(call: Any) -> dict[str, Any]:
        answer = listing(call)
        for row in answer["Accounts"]:
            del row["Paths"]
        return answer

    monkeypatch.setitem(organizations.OPERATIONS, "ListAccounts", without_paths)
    assert changed_keys(await sync.sync_once(context)) == set()
    assert operations(aws).count("ListParents") == len(aws.directory.accounts)


async def test_sync_of_an_account_in_a_unit_that_is_not_known_yet_leaves_it_out_until_it_is(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    """Without its units it would escape the rules that name them."""
    listing = organizations.OPERATIONS["ListOrganizationalUnitsForParent"]
    with pytest.MonkeyPatch.context() as lagging:
        lagging.setitem(
            organizations.OPERATIONS,
            "ListOrganizationalUnitsForParent",
            lambda _call: {"OrganizationalUnits": []},
        )
        await sync.sync_once(context)
        assert set(await stored(context, doc.Account)) == {aws.directory.management}
    assert organizations.OPERATIONS["ListOrganizationalUnitsForParent"] is listing
    await sync.sync_once(context)
    assert len(await stored(context, doc.Account)) == len(aws.directory.accounts)


async def test_run_syncs_at_once_and_when_wanted(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    task = asyncio.create_task(sync.run(context))
    try:
        await until(lambda: published_at_least(context, 1))
        before = await published(context)
        aws.edit(action="disable_user", user="ann")
        sync.wanted.set()
        await until(lambda: published_at_least(context, before + 1))
        assert await published(context) == before + 1
    finally:
        task.cancel()


async def published_at_least(context: Context, count: int) -> bool:
    return await published(context) >= count


async def test_run_on_a_standby_reads_nothing(
    aws: Simulator, centre: IdentityCenter, context: Context
) -> None:
    asked = asyncio.Event()

    def standby() -> bool:
        asked.set()
        return False

    task = asyncio.create_task(InventorySync(centre, may_run=standby).run(context))
    await asked.wait()
    task.cancel()
    assert operations(aws) == []


async def test_run_that_keeps_failing_waits_longer_and_alerts(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    aws.fault(operation="ListUsers", kind="error", code="AccessDeniedException")
    pauses = [await sync._attempt(context) for _ in range(3)]
    assert [pause.total_seconds() for pause in pauses] == [5, 10, 20]
    assert "inventory_failing" in alerts(context)
    aws.faults.clear()
    assert await sync._attempt(context) == timedelta(minutes=10)
    assert "inventory_failing" not in alerts(context)


async def test_preload_makes_people_known_from_the_database(
    aws: Simulator, sync: InventorySync, context: Context
) -> None:
    await sync.sync_once(context)
    restarted = empty_tables(ManualClock(NOW))
    context.tables = restarted
    assert await preload(context) == len(await _all_stored(context))
    ann = restarted.policy.known().user(aws.directory.find_user("ann").id)
    assert ann is not None
    assert ann.user_name == "ann"
    assert aws.directory.find_group("dev").id in restarted.policy.known().groups_of(ann.id)
    assert not restarted.policy.ready


async def _all_stored(context: Context) -> list[doc.Document]:
    async with context.pool.acquire() as conn:
        return await stored_documents(conn)
