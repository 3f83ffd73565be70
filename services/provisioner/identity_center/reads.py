"""What exists: accounts, units, permission sets, users, groups. For the inventory; reads only.

Every list is read to its last page. What disappears while it is being read answers None.
"""

import asyncio
from typing import Any

from services.provisioner.driver import DriverProblem, Priority
from services.provisioner.identity_center import rows
from services.provisioner.identity_center.api_operations import (
    DESCRIBE_ORGANIZATION,
    DESCRIBE_SET,
    GET_BOUNDARY,
    GET_INLINE_POLICY,
    LIST_ACCOUNT_TAGS,
    LIST_ACCOUNTS,
    LIST_CUSTOMER,
    LIST_DELEGATED,
    LIST_GROUPS,
    LIST_INSTANCES,
    LIST_MANAGED,
    LIST_MEMBERS,
    LIST_PARENTS,
    LIST_ROOTS,
    LIST_SET_TAGS,
    LIST_SETS,
    LIST_UNITS,
    LIST_USERS,
    ApiOperation,
)
from services.provisioner.identity_center.calls import Calls
from services.provisioner.identity_center.types import IdentityCenterError, Instance
from shared.contracts import documents as doc

SERVICE_PRINCIPAL = "sso.amazonaws.com"
_READ: Priority = "catalog"


class InventoryReads:
    """The reading half of `IdentityCenter`."""

    def __init__(self, calls: Calls, *, instance_arn: str | None) -> None:
        self._calls = calls
        self._wanted = instance_arn
        self._instance: Instance | None = None
        self._asking = asyncio.Lock()

    async def instance(self) -> Instance:
        """The Identity Center instance: the one the settings name, or the only one. Asked once."""
        async with self._asking:
            if self._instance is None:
                self._instance = await self._find_instance()
        return self._instance

    async def _find_instance(self) -> Instance:
        found = [row async for row in self._calls.rows(LIST_INSTANCES, "Instances", priority="poll")]
        chosen = [row for row in found if self._wanted in {None, row["InstanceArn"]}]
        if len(chosen) != 1:
            raise IdentityCenterError(
                DriverProblem.INVALID,
                "InstanceUnclear",
                detail=f"{len(chosen)} instances fit; name one of "
                f"{sorted(row['InstanceArn'] for row in found)} in the settings",
            )
        return Instance(chosen[0]["InstanceArn"], chosen[0]["IdentityStoreId"])

    # Organizations

    async def management_account(self) -> str:
        answer = await self._calls.send(DESCRIBE_ORGANIZATION, priority=_READ)
        return str(answer["Organization"]["MasterAccountId"])

    async def accounts(self) -> list[doc.Account]:
        """All accounts, without tags and flags. `ous` is empty where AWS gave no path: ask `parent`."""
        return [
            rows.account(row) async for row in self._calls.rows(LIST_ACCOUNTS, "Accounts", priority=_READ)
        ]

    async def parent(self, account_id: str) -> str:
        """The unit or root an account is directly in."""
        found = self._calls.rows(LIST_PARENTS, "Parents", priority=_READ, ChildId=account_id)
        (parent,) = [str(row["Id"]) async for row in found]
        return parent

    async def account_tags(self, account_id: str) -> dict[str, str]:
        found = self._calls.rows(LIST_ACCOUNT_TAGS, "Tags", priority=_READ, ResourceId=account_id)
        return rows.tags([row async for row in found])

    async def organizational_units(self) -> list[doc.OrganizationalUnit]:
        """The root and every unit below it, parents before children."""
        found = [
            doc.OrganizationalUnit(id=row["Id"], name=row["Name"])
            async for row in self._calls.rows(LIST_ROOTS, "Roots", priority=_READ)
        ]
        for parent in found:  # grows while it is walked: children are appended behind their parents
            below = self._calls.rows(LIST_UNITS, "OrganizationalUnits", priority=_READ, ParentId=parent.id)
            found += [
                doc.OrganizationalUnit(id=row["Id"], name=row["Name"], parent=parent.id)
                async for row in below
            ]
        return found

    async def delegated_administrators(self) -> frozenset[str]:
        """Accounts that administer Identity Center besides the management account."""
        found = self._calls.rows(
            LIST_DELEGATED, "DelegatedAdministrators", priority=_READ, ServicePrincipal=SERVICE_PRINCIPAL
        )
        return frozenset([str(row["Id"]) async for row in found])

    # permission sets

    async def permission_sets(self) -> list[str]:
        """ARNs."""
        instance = await self.instance()
        found = self._calls.rows(LIST_SETS, "PermissionSets", priority=_READ, InstanceArn=instance.arn)
        return [str(arn) async for arn in found]

    async def permission_set(self, arn: str, *, priority: Priority = _READ) -> doc.PermissionSet | None:
        """With the digest of its content. Six calls; None when it was deleted before the last of them."""
        scope: dict[str, Any] = {"InstanceArn": (await self.instance()).arn, "PermissionSetArn": arn}
        try:
            boundary = await self._boundary(scope, priority)
            inline = await self._calls.send(GET_INLINE_POLICY, priority=priority, **scope)
            parts = rows.SetParts(
                inline=inline.get("InlinePolicy", ""),
                managed=await self._set_rows(LIST_MANAGED, "AttachedManagedPolicies", scope, priority),
                customer=await self._set_rows(
                    LIST_CUSTOMER, "CustomerManagedPolicyReferences", scope, priority
                ),
                boundary=boundary,
                tags=await self._set_rows(
                    LIST_SET_TAGS, "Tags", {"InstanceArn": scope["InstanceArn"], "ResourceArn": arn}, priority
                ),
                described=(await self._calls.send(DESCRIBE_SET, priority=priority, **scope))["PermissionSet"],
            )
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return None
            raise
        return rows.permission_set(parts)

    async def _boundary(self, scope: dict[str, Any], priority: Priority) -> rows.Row | None:
        # AWS answers "not found" for a set without a boundary; a set that is gone shows in the next call.
        try:
            answer = await self._calls.send(GET_BOUNDARY, priority=priority, **scope)
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return None
            raise
        found: rows.Row | None = answer.get("PermissionsBoundary") or None
        return found

    async def _set_rows(
        self, operation: ApiOperation, name: str, scope: dict[str, Any], priority: Priority
    ) -> list[rows.Row]:
        return [row async for row in self._calls.rows(operation, name, priority=priority, **scope)]

    # Identity Store

    async def users(self) -> list[doc.User]:
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(LIST_USERS, "Users", priority=_READ, IdentityStoreId=store)
        return [rows.user(row) async for row in found]

    async def groups(self) -> list[doc.Group]:
        """Without members."""
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(LIST_GROUPS, "Groups", priority=_READ, IdentityStoreId=store)
        return [rows.group(row) async for row in found]

    async def members(self, group_id: str) -> tuple[str, ...] | None:
        """User ids in order (Identity Store has no groups in groups); None for a group that is gone."""
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(
            LIST_MEMBERS, "GroupMemberships", priority=_READ, IdentityStoreId=store, GroupId=group_id
        )
        try:
            return tuple(sorted({str(row["MemberId"]["UserId"]) async for row in found}))
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return None
            raise
