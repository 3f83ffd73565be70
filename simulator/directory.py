"""The organisation as it is now: accounts, units, permission sets, users, groups and memberships.

Holds records only: no assignments (`truth`), no rules of the API (the operation modules).
Look-ups take ids; `find_*` also take the names that people use in faults and edits.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

from simulator.model import (
    Account,
    Assignment,
    DelegatedAdministrator,
    Group,
    Instance,
    Membership,
    PermissionSet,
    Unit,
    User,
)

Found = TypeVar("Found")


class Directory(BaseModel):
    organisation_id: str
    root_id: str
    management: str
    instance: Instance
    issuer: str
    accounts: dict[str, Account] = {}
    units: dict[str, Unit] = {}
    permission_sets: dict[str, PermissionSet] = {}
    users: dict[str, User] = {}
    groups: dict[str, Group] = {}
    memberships: dict[str, Membership] = {}
    delegated: list[DelegatedAdministrator] = []
    root_tags: dict[str, str] = {}

    def find_account(self, name_or_id: str) -> Account:
        return _find(self.accounts, "account", name_or_id, lambda account: account.name)

    def find_set(self, name_or_arn: str) -> PermissionSet:
        return _find(self.permission_sets, "permission set", name_or_arn, lambda found: found.name)

    def find_user(self, name_or_id: str) -> User:
        return _find(self.users, "user", name_or_id, lambda user: user.user_name)

    def find_group(self, name_or_id: str) -> Group:
        return _find(self.groups, "group", name_or_id, lambda group: group.name)

    def find_parent(self, name_or_id: str) -> str:
        """The id of a unit by name, by path (`nonprod/dev`) or by id, or of the root."""
        if name_or_id == self.root_id:
            return self.root_id
        return _find(self.units, "unit", name_or_id, lambda unit: self.names_to(unit.id)).id

    def names_to(self, parent: str) -> str:
        """The units' names from the root down to `parent`, joined by slashes; empty for the root."""
        return "/".join(self.units[unit].name for unit in self.chain(parent))

    def chain(self, parent: str) -> list[str]:
        """The ids of the units from just under the root down to `parent`."""
        below: list[str] = []
        while parent != self.root_id:
            below.insert(0, parent)
            parent = self.units[parent].parent
        return below

    def path_to(self, parent: str) -> str:
        """The place in the tree in AWS's form, o-.../r-.../ou-.../ with a slash at the end."""
        return "/".join([self.organisation_id, self.root_id, *self.chain(parent)]) + "/"

    def members_of(self, group: str) -> Iterator[Membership]:
        return (membership for membership in self.memberships.values() if membership.group == group)

    def groups_of(self, user: str) -> Iterator[Membership]:
        return (membership for membership in self.memberships.values() if membership.user == user)

    def membership(self, group: str, user: str) -> Membership | None:
        return next((found for found in self.members_of(group) if found.user == user), None)

    def has_principal(self, principal_type: str, principal: str) -> bool:
        return principal in (self.users if principal_type == "USER" else self.groups)

    def names_of(self, assignment: Assignment) -> dict[str, str | None]:
        """The names people know the parts of an assignment by; None for what has been deleted."""
        account = self.accounts.get(assignment.account)
        permission_set = self.permission_sets.get(assignment.permission_set)
        user, group = self.users.get(assignment.principal), self.groups.get(assignment.principal)
        return {
            "account_name": account.name if account else None,
            "permission_set_name": permission_set.name if permission_set else None,
            "principal_name": user.user_name if user else group.name if group else None,
        }

    def change(self, kind: str, key: str, **changes: Any) -> None:
        """Replace one record of `kind` (the name of a dictionary here) by a changed copy."""
        records = getattr(self, kind)
        records[key] = records[key].model_copy(update=changes)


def _find(records: dict[str, Found], kind: str, wanted: str, name_of: Callable[[Found], str]) -> Found:
    if wanted in records:
        return records[wanted]
    named = _named(records.values(), wanted, name_of)
    if len(named) != 1:
        raise LookupError(f"{len(named)} {kind}s are called {wanted!r}; give the id")
    return named[0]


def _named(records: Iterable[Found], wanted: str, name_of: Callable[[Found], str]) -> list[Found]:
    exact = [record for record in records if name_of(record) == wanted]
    return exact or [record for record in records if name_of(record).rsplit("/", 1)[-1] == wanted]
