"""Identity Store's operations on users, groups and memberships.

User names and e-mail addresses are compared without regard to case, as AWS does.
"""

from typing import Any

from simulator.call import Call, Operation, present
from simulator.errors import ApiError, invalid, not_found
from simulator.model import Group, Membership, User


def list_users(call: Call) -> dict[str, Any]:
    _require_store(call)
    users = list(call.directory.users.values())
    wanted = _filter(call, "UserName")
    if wanted is not None:
        users = [user for user in users if user.user_name.casefold() == wanted.casefold()]
    return call.page_of("Users", users, key=lambda user: user.id, show=lambda user: _user(call, user))


def describe_user(call: Call) -> dict[str, Any]:
    _require_store(call)
    return _user(call, _require_user(call, call.params["UserId"]))


def _user(call: Call, user: User) -> dict[str, Any]:
    return present(
        UserName=user.user_name,
        UserId=user.id,
        ExternalIds=_external_ids(user.external_ids),
        Name={"GivenName": user.given_name, "FamilyName": user.family_name, "Formatted": user.display_name},
        DisplayName=user.display_name,
        Title=user.title,
        Emails=[{"Value": user.email, "Type": "work", "Primary": True}],
        IdentityStoreId=call.directory.instance.identity_store,
        UserStatus="ENABLED" if user.enabled else "DISABLED",
    )


def get_user_id(call: Call) -> dict[str, Any]:
    _require_store(call)
    found = [user for user in call.directory.users.values() if _is_user(call, user)]
    if not found:
        raise _missing("USER")
    return {"UserId": found[0].id, "IdentityStoreId": call.params["IdentityStoreId"]}


def _is_user(call: Call, user: User) -> bool:
    external, attribute = _alternate(call)
    if external:
        return external in user.external_ids
    path, value = attribute
    if path == "userName":
        return user.user_name.casefold() == value.casefold()
    if path == "emails.value":
        return user.email.casefold() == value.casefold()
    raise invalid(f"The attribute path {path} is not supported: userName and emails.value are.")


def list_groups(call: Call) -> dict[str, Any]:
    _require_store(call)
    groups = list(call.directory.groups.values())
    wanted = _filter(call, "DisplayName")
    if wanted is not None:
        groups = [group for group in groups if group.name.casefold() == wanted.casefold()]
    return call.page_of("Groups", groups, key=lambda group: group.id, show=lambda group: _group(call, group))


def describe_group(call: Call) -> dict[str, Any]:
    _require_store(call)
    return _group(call, _require_group(call, call.params["GroupId"]))


def _group(call: Call, group: Group) -> dict[str, Any]:
    return present(
        GroupId=group.id,
        DisplayName=group.name,
        ExternalIds=_external_ids(group.external_ids),
        Description=group.description,
        IdentityStoreId=call.directory.instance.identity_store,
    )


def get_group_id(call: Call) -> dict[str, Any]:
    _require_store(call)
    found = [group for group in call.directory.groups.values() if _is_group(call, group)]
    if not found:
        raise _missing("GROUP")
    return {"GroupId": found[0].id, "IdentityStoreId": call.params["IdentityStoreId"]}


def _is_group(call: Call, group: Group) -> bool:
    external, attribute = _alternate(call)
    if external:
        return external in group.external_ids
    path, value = attribute
    if path != "displayName":
        raise invalid(f"The attribute path {path} is not supported: displayName is.")
    return group.name.casefold() == value.casefold()


def list_memberships(call: Call) -> dict[str, Any]:
    _require_store(call)
    group = _require_group(call, call.params["GroupId"])
    return _memberships(call, list(call.directory.members_of(group.id)))


def list_memberships_of_member(call: Call) -> dict[str, Any]:
    _require_store(call)
    user = _require_user(call, call.params["MemberId"]["UserId"])
    return _memberships(call, list(call.directory.groups_of(user.id)))


def _memberships(call: Call, rows: list[Membership]) -> dict[str, Any]:
    return call.page_of(
        "GroupMemberships", rows, key=lambda row: row.id, show=lambda row: _membership(call, row)
    )


def _membership(call: Call, row: Membership) -> dict[str, Any]:
    return {
        "IdentityStoreId": call.params["IdentityStoreId"],
        "MembershipId": row.id,
        "GroupId": row.group,
        "MemberId": {"UserId": row.user},
    }


def is_member_in_groups(call: Call) -> dict[str, Any]:
    _require_store(call)
    member = call.params["MemberId"]
    user = _require_user(call, member["UserId"])
    groups = [_require_group(call, group) for group in call.params["GroupIds"]]
    results = [
        {
            "GroupId": group.id,
            "MemberId": member,
            "MembershipExists": call.directory.membership(group.id, user.id) is not None,
        }
        for group in groups
    ]
    return {"Results": results}


def create_membership(call: Call) -> dict[str, Any]:
    _require_store(call)
    group = _require_group(call, call.params["GroupId"])
    user = _require_user(call, call.params["MemberId"]["UserId"])
    if call.directory.membership(group.id, user.id):
        raise ApiError(
            "ConflictException",
            "Member and Group relationship already exists.",
            Reason="UNIQUENESS_CONSTRAINT_VIOLATION",
        )
    made = Membership(id=call.world.new_id(), group=group.id, user=user.id)
    call.directory.memberships[made.id] = made
    return {"MembershipId": made.id, "IdentityStoreId": call.params["IdentityStoreId"]}


def delete_membership(call: Call) -> dict[str, Any]:
    found = _require_membership(call)
    del call.directory.memberships[found.id]
    return {}


def describe_membership(call: Call) -> dict[str, Any]:
    return _membership(call, _require_membership(call))


def get_membership_id(call: Call) -> dict[str, Any]:
    _require_store(call)
    found = call.directory.membership(call.params["GroupId"], call.params["MemberId"]["UserId"])
    if found is None:
        raise _missing("GROUP_MEMBERSHIP")
    return {"MembershipId": found.id, "IdentityStoreId": call.params["IdentityStoreId"]}


def _require_membership(call: Call) -> Membership:
    _require_store(call)
    found = call.directory.memberships.get(call.params["MembershipId"])
    if found is None:
        raise _missing("GROUP_MEMBERSHIP", call.params["MembershipId"])
    return found


def _require_store(call: Call) -> None:
    store = call.params["IdentityStoreId"]
    if store != call.directory.instance.identity_store:
        raise _missing("IDENTITY_STORE", store)


def _require_user(call: Call, user: str) -> User:
    found = call.directory.users.get(user)
    if found is None:
        raise _missing("USER", user)
    return found


def _require_group(call: Call, group: str) -> Group:
    found = call.directory.groups.get(group)
    if found is None:
        raise _missing("GROUP", group)
    return found


def _missing(kind: str, resource: str | None = None) -> ApiError:
    return not_found(f"{kind} not found.", **present(ResourceType=kind, ResourceId=resource))


def _filter(call: Call, path: str) -> str | None:
    """The value of the only filter AWS knows for a list, which it calls deprecated."""
    filters = call.params.get("Filters", [])
    if not filters:
        return None
    if filters[0]["AttributePath"] != path:
        raise invalid(f"The attribute path {filters[0]['AttributePath']} is not supported: {path} is.")
    return str(filters[0]["AttributeValue"])


def _alternate(call: Call) -> tuple[tuple[str, str] | None, tuple[str, str]]:
    identifier = call.params["AlternateIdentifier"]
    if "ExternalId" in identifier:
        external = identifier["ExternalId"]
        return (external["Issuer"], external["Id"]), ("", "")
    attribute = identifier["UniqueAttribute"]
    value = attribute["AttributeValue"]
    if not isinstance(value, str):
        raise invalid("The attribute value must be a string.")
    return None, (attribute["AttributePath"], value)


def _external_ids(ids: tuple[tuple[str, str], ...]) -> list[dict[str, str]] | None:
    return [{"Issuer": issuer, "Id": identifier} for issuer, identifier in ids] or None


OPERATIONS: dict[str, Operation] = {
    "ListUsers": list_users,
    "DescribeUser": describe_user,
    "GetUserId": get_user_id,
    "ListGroups": list_groups,
    "DescribeGroup": describe_group,
    "GetGroupId": get_group_id,
    "ListGroupMemberships": list_memberships,
    "ListGroupMembershipsForMember": list_memberships_of_member,
    "IsMemberInGroups": is_member_in_groups,
    "CreateGroupMembership": create_membership,
    "DeleteGroupMembership": delete_membership,
    "DescribeGroupMembership": describe_membership,
    "GetGroupMembershipId": get_membership_id,
}
