"""Changes to the simulated organisation that do not come through the AWS API.

What a person in the console, the identity provider or Organizations would do. Names or ids are taken.
Called by `admin` with a checked edit; raises LookupError when the thing is not there.
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from simulator.errors import ApiError
from simulator.model import Assignment, Membership
from simulator.world import FOREIGN, World

Action = Literal[
    "disable_user",
    "enable_user",
    "delete_user",
    "delete_group",
    "delete_set",
    "set_account_state",
    "move_account",
    "tag_account",
    "untag_account",
    "add_member",
    "remove_member",
    "add_assignment",
    "remove_assignment",
    "edit_set",
]


class Edit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Action
    user: str = ""
    group: str = ""
    account: str = ""
    permission_set: str = ""
    unit: str = ""
    state: Literal["ACTIVE", "SUSPENDED", "PENDING_CLOSURE", "CLOSED"] = "SUSPENDED"
    key: str = ""
    value: str = ""
    session_duration: str | None = None
    inline_policy: str | None = None


def apply(world: World, edit: Edit, now: float) -> dict[str, Any]:
    """Make the edit; the answer names what it was made on."""
    world.advance(now)
    return _ACTIONS[edit.action](world, edit, now)


def _set_enabled(world: World, edit: Edit, _: float) -> dict[str, Any]:
    user = world.directory.find_user(edit.user)
    world.directory.change("users", user.id, enabled=edit.action == "enable_user")
    return {"user": user.id}


def _delete_user(world: World, edit: Edit, _: float) -> dict[str, Any]:
    """Memberships go with the user; assignments stay behind with an id that nothing bears any more."""
    user = world.directory.find_user(edit.user)
    for membership in list(world.directory.groups_of(user.id)):
        del world.directory.memberships[membership.id]
    del world.directory.users[user.id]
    return {"user": user.id}


def _delete_group(world: World, edit: Edit, _: float) -> dict[str, Any]:
    group = world.directory.find_group(edit.group)
    for membership in list(world.directory.members_of(group.id)):
        del world.directory.memberships[membership.id]
    del world.directory.groups[group.id]
    return {"group": group.id}


def _delete_set(world: World, edit: Edit, now: float) -> dict[str, Any]:
    """As a person does it: first every assignment, then the set."""
    found = world.directory.find_set(edit.permission_set)
    for assignment in [row for row in world.truth.present if row.permission_set == found.arn]:
        world.take_directly(assignment, now=now)
    for key in [key for key in world.truth.roles if key[1] == found.arn]:
        del world.truth.roles[key]
    del world.directory.permission_sets[found.arn]
    return {"permission_set": found.arn}


def _edit_set(world: World, edit: Edit, _: float) -> dict[str, Any]:
    found = world.directory.find_set(edit.permission_set)
    wanted = {"session_duration": edit.session_duration, "inline_policy": edit.inline_policy}
    changes = {name: value for name, value in wanted.items() if value is not None}
    world.directory.change("permission_sets", found.arn, revision=found.revision + 1, **changes)
    return {"permission_set": found.arn}


def _set_account_state(world: World, edit: Edit, _: float) -> dict[str, Any]:
    account = world.directory.find_account(edit.account)
    world.directory.change("accounts", account.id, state=edit.state)
    return {"account": account.id}


def _move_account(world: World, edit: Edit, _: float) -> dict[str, Any]:
    account = world.directory.find_account(edit.account)
    world.directory.change("accounts", account.id, parent=world.directory.find_parent(edit.unit))
    return {"account": account.id}


def _tag_account(world: World, edit: Edit, _: float) -> dict[str, Any]:
    account = world.directory.find_account(edit.account)
    tags = {key: value for key, value in account.tags.items() if key != edit.key}
    if edit.action == "tag_account":
        tags[edit.key] = edit.value
    world.directory.change("accounts", account.id, tags=tags)
    return {"account": account.id}


def _add_member(world: World, edit: Edit, _: float) -> dict[str, Any]:
    user, group = world.directory.find_user(edit.user), world.directory.find_group(edit.group)
    found = world.directory.membership(group.id, user.id)
    if found is None:
        found = Membership(id=world.new_id(), group=group.id, user=user.id)
        world.directory.memberships[found.id] = found
    return {"membership": found.id}


def _remove_member(world: World, edit: Edit, _: float) -> dict[str, Any]:
    user, group = world.directory.find_user(edit.user), world.directory.find_group(edit.group)
    found = world.directory.membership(group.id, user.id)
    if found is None:
        raise LookupError(f"{edit.user} is not in {edit.group}")
    del world.directory.memberships[found.id]
    return {"membership": found.id}


def _add_assignment(world: World, edit: Edit, now: float) -> dict[str, Any]:
    assignment = named_assignment(world, edit)
    world.put_directly(assignment, now=now, cause=FOREIGN)
    return assignment.model_dump()


def _remove_assignment(world: World, edit: Edit, now: float) -> dict[str, Any]:
    assignment = named_assignment(world, edit)
    world.take_directly(assignment, now=now)
    return assignment.model_dump()


def named_assignment(world: World, edit: Edit) -> Assignment:
    if bool(edit.user) == bool(edit.group):
        raise ApiError("BadRequest", "name either a user or a group")
    by_user, directory = bool(edit.user), world.directory
    return Assignment(
        account=directory.find_account(edit.account).id,
        permission_set=directory.find_set(edit.permission_set).arn,
        principal_type="USER" if by_user else "GROUP",
        principal=directory.find_user(edit.user).id if by_user else directory.find_group(edit.group).id,
    )


_ACTIONS: dict[str, Callable[[World, Edit, float], dict[str, Any]]] = {
    "disable_user": _set_enabled,
    "enable_user": _set_enabled,
    "delete_user": _delete_user,
    "delete_group": _delete_group,
    "delete_set": _delete_set,
    "edit_set": _edit_set,
    "set_account_state": _set_account_state,
    "move_account": _move_account,
    "tag_account": _tag_account,
    "untag_account": _tag_account,
    "add_member": _add_member,
    "remove_member": _remove_member,
    "add_assignment": _add_assignment,
    "remove_assignment": _remove_assignment,
}
