"""What may be registered, and how a scope must look. Pure; the inventory comes in as a `World`."""

from collections.abc import Collection

from shared.contracts.documents import Account, PermissionSet, RegisteredAccount, RegisteredSet, SetGroup
from shared.foundation.errors import FieldError, Invalid, NotFound
from shared.policy.world import World


def register_account(
    account_id: str,
    labels: dict[str, str],
    world: World,
    *,
    protected: Collection[str],
    allowed: Collection[str],
) -> RegisteredAccount:
    """An account of the inventory as registered; protected ones only where a setting allows them."""
    account = world.get(Account, account_id)
    if account is None:
        raise NotFound(
            f"AWS Organizations has no account {account_id}, as far as the inventory knows",
            code="account_unknown",
        )
    why = why_protected(account, protected)
    if why and account_id not in allowed:
        raise Invalid(
            f"account {account_id} is {why}; to register it, add it to JIT_ALLOW_PROTECTED_ACCOUNTS",
            code="account_protected",
            fields=[FieldError("account_id", "account_protected", f"it is {why}")],
        )
    return RegisteredAccount(id=account_id, labels=labels, protected_override=bool(why))


def why_protected(account: Account, protected: Collection[str]) -> str | None:
    """What an account is that nobody registers by the way; `protected` are those listed in the settings."""
    if account.management:
        return "the management account"
    if account.delegated_administrator:
        return "the delegated administrator's account"
    return "listed in JIT_PROTECTED_ACCOUNTS" if account.id in protected else None


def register_set(set_id: str, world: World, *, long_session_acknowledged: bool) -> RegisteredSet:
    """A permission set as registered; one with long sessions needs a word that somebody knows it."""
    permission_set = world.get(PermissionSet, set_id)
    if permission_set is None:
        raise NotFound(
            f"Identity Center has no permission set {set_id}, as far as the inventory knows",
            code="set_unknown",
        )
    if permission_set.has_long_sessions and not long_session_acknowledged:
        sentence = (
            f"credentials of {permission_set.name} live up to {permission_set.session_duration} and outlive "
            "the end of access by as much; set long_session_acknowledged to true to register it all the same"
        )
        raise Invalid(
            sentence,
            code="long_session",
            fields=[FieldError("/long_session_acknowledged", "long_session", sentence)],
        )
    return RegisteredSet(id=set_id, long_session_acknowledged=long_session_acknowledged)


def define_group(group_id: str, name: str, sets: Collection[str], world: World) -> SetGroup:
    """A group of registered sets; every set must be registered, named once."""
    problems = [
        FieldError(f"/sets/{index}", "set_not_registered", f"permission set {set_id} is not registered")
        for index, set_id in enumerate(sets)
        if world.registered_set(set_id) is None
    ]
    if problems:
        raise Invalid(
            "the group names sets that are not registered", code="set_group_invalid", fields=problems
        )
    return SetGroup(id=group_id, name=name, sets=tuple(dict.fromkeys(sets)))
