"""What exists: accounts, units, permission sets, users, groups. For the inventory; reads only.

Every list is read to its last page. What disappears while it is being read answers None; a row that cannot be
read is named and left out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

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

DocumentT = TypeVar("DocumentT", bound=doc.Document)


@dataclass(frozen=True, slots=True)
class Listed(Generic[DocumentT]):
    """A list as far as it can be read."""

    documents: tuple[DocumentT, ...]
    left_out: dict[str, str]
    """By key of the document, why it cannot be made of its row."""


class InventoryReads:
    """The reading half of `IdentityCenter`."""

    def __init__(self, calls: Calls, *, instance_arn: str | None) -> None:
        self._calls = calls
        self._wanted = instance_arn
        self._instance: Instance | None = None
        self._asking = asyncio.Lock()

    def tell_dates(self, hear: Callable[[datetime], None]) -> None:
        """Have AWS's time told with every answer from now on."""
        self._calls.on_date = hear

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

    async def accounts(self) -> Listed[doc.Account]:
        """All accounts, without tags and flags. `ous` is empty where AWS gave no path: ask `parent`."""
        found = self._calls.rows(LIST_ACCOUNTS, "Accounts", priority=_READ)
        return await _listed(found, "Id", doc.Account, rows.account)

    async def parent(self, account_id: str) -> str:
        """The unit or root an account is directly in."""
        found = self._calls.rows(LIST_PARENTS, "Parents", priority=_READ, ChildId=account_id)
        (parent,) = [str(row["Id"]) async for row in found]
        return parent

    async def account_tags(self, account_id: str) -> dict[str, str]:
        found = self._calls.rows(LIST_ACCOUNT_TAGS, "Tags", priority=_READ, ResourceId=account_id)
        return rows.tags([row async for row in found])

    async def roots(self) -> list[doc.OrganizationalUnit]:
        """The one root, as a unit."""
        found = self._calls.rows(LIST_ROOTS, "Roots", priority=_READ)
        return [doc.OrganizationalUnit(id=row["Id"], name=row["Name"]) async for row in found]

    async def units_in(self, parent: str) -> list[doc.OrganizationalUnit]:
        """The units right below one; none where that is gone."""
        found = self._calls.rows(LIST_UNITS, "OrganizationalUnits", priority=_READ, ParentId=parent)
        try:
            return [
                doc.OrganizationalUnit(id=row["Id"], name=row["Name"], parent=parent) async for row in found
            ]
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return []
            raise

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

    async def users(self) -> Listed[doc.User]:
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(LIST_USERS, "Users", priority=_READ, IdentityStoreId=store)
        return await _listed(found, "UserId", doc.User, rows.user)

    async def groups(self) -> Listed[doc.Group]:
        """Without members."""
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(LIST_GROUPS, "Groups", priority=_READ, IdentityStoreId=store)
        return await _listed(found, "GroupId", doc.Group, rows.group)

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


async def _listed(
    found: AsyncIterator[Any],
    id_name: str,
    cls: type[DocumentT],
    make: Callable[[rows.Row], DocumentT],
) -> Listed[DocumentT]:
    documents: list[DocumentT] = []
    left_out: dict[str, str] = {}
    async for row in found:
        try:
            documents.append(make(row))
        except (KeyError, TypeError, ValueError) as error:
            left_out[f"{cls.KIND}/{row.get(id_name, 'without an id')}"] = unreadable(error)
    return Listed(tuple(documents), left_out)


def unreadable(error: Exception) -> str:
    """Why a row cannot be read, without what is in it."""
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__} in its fields"
