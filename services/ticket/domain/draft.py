"""What a request names, found: people, accounts and sets, with groups of sets expanded. Pure.

Everything that is not there, not registered or not to be asked for is a problem with its field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.ticket.domain.window import Limits
from shared.contracts.documents import Account, PermissionSet, SetGroup, User
from shared.contracts.windows import WindowAsked
from shared.foundation.errors import FieldError
from shared.policy.snapshot import Snapshot


@dataclass(frozen=True)
class TargetAsked:
    """An account with a set, or with a group of sets that is expanded at submit."""

    account_id: str
    set_id: str | None = None
    set_group: str | None = None


@dataclass(frozen=True)
class Draft:
    """A request as it came in, syntactically sound and nothing more."""

    requester: User
    beneficiaries: tuple[str, ...]
    """User names or user ids; empty means the requester."""
    targets: tuple[TargetAsked, ...]
    asked: WindowAsked
    reason: str
    reference: str | None = None


@dataclass(frozen=True)
class Pair:
    """An account and a set, with the place in the body it came from."""

    field: str
    account: Account
    permission_set: PermissionSet
    set_group: str | None


def find_people(draft: Draft, snapshot: Snapshot) -> tuple[list[User], list[FieldError]]:
    """Beneficiaries by name or id, each exactly one enabled user; named twice counts once."""
    if not draft.beneficiaries:
        return [draft.requester], []
    people: dict[str, User] = {}
    problems = []
    for index, name in enumerate(draft.beneficiaries):
        field = f"/beneficiaries/{index}"
        user = snapshot.user(name) or _by_name(name, snapshot)
        if user is None:
            sentence = f"there is no user {name!r} in the Identity Store; use the user name or user id"
            problems.append(FieldError(field, "beneficiary_unknown", sentence))
        elif not user.enabled:
            problems.append(FieldError(field, "beneficiary_disabled", f"{user.user_name} is disabled"))
        else:
            people[user.id] = user
    return list(people.values()), problems


def _by_name(name: str, snapshot: Snapshot) -> User | None:
    matches = snapshot.find_user("user_name", name)
    return matches[0] if len(matches) == 1 else None


def expand(
    targets: Sequence[TargetAsked], snapshot: Snapshot, limits: Limits
) -> tuple[list[Pair], list[FieldError]]:
    """Targets with their groups of sets expanded; the same pair named twice counts once."""
    pairs: dict[tuple[str, str], Pair] = {}
    problems: list[FieldError] = []
    if not targets:
        problems.append(FieldError("/targets", "no_targets", "name at least one account and permission set"))
    for index, target in enumerate(targets):
        field = f"/targets/{index}"
        account, account_problems = _find_account(target.account_id, f"{field}/account", snapshot, limits)
        sets, set_problems = _find_sets(target, field, snapshot)
        problems += account_problems + set_problems
        for permission_set in sets if account is not None else ():
            assert account is not None, "guarded by the loop's condition"  # noqa: S101
            key = (account.id, permission_set.id)
            pairs.setdefault(key, Pair(field, account, permission_set, target.set_group))
    return list(pairs.values()), problems


def _find_account(
    account_id: str, field: str, snapshot: Snapshot, limits: Limits
) -> tuple[Account | None, list[FieldError]]:
    account, registered = snapshot.get(Account, account_id), snapshot.registered_account(account_id)
    if account is None and registered is not None:
        sentence = f"account {account_id} is registered with JIT, but AWS does not have it any more"
        return None, [FieldError(field, "account_gone", sentence)]
    if account is None or registered is None:
        sentence = f"account {account_id} is not registered with JIT; an administrator can register it"
        return None, [FieldError(field, "account_not_registered", sentence)]
    if account.state != "ACTIVE":
        return None, [FieldError(field, "account_not_active", f"AWS says the account is {account.state}")]
    # What an account is may have changed since it was registered.
    if (why := account.why_protected(limits.protected)) and not registered.protected_override:
        sentence = f"account {account_id} is {why}; an administrator has to register it again as such"
        return None, [FieldError(field, "account_protected", sentence)]
    return account, []


def _find_sets(
    target: TargetAsked, field: str, snapshot: Snapshot
) -> tuple[list[PermissionSet], list[FieldError]]:
    if (target.set_id is None) == (target.set_group is None):
        return [], [FieldError(field, "set_or_group", "give either set or set_group")]
    if target.set_id is not None:
        return _find_set(target.set_id, f"{field}/set", snapshot)
    group = snapshot.get(SetGroup, target.set_group or "")
    if group is None:
        return [], [
            FieldError(f"{field}/set_group", "set_group_unknown", f"there is no group {target.set_group!r}")
        ]
    found = [_find_set(set_id, f"{field}/set_group", snapshot) for set_id in group.sets]
    return [one for sets, _ in found for one in sets], [one for _, problems in found for one in problems]


def _find_set(set_id: str, field: str, snapshot: Snapshot) -> tuple[list[PermissionSet], list[FieldError]]:
    permission_set, registered = snapshot.get(PermissionSet, set_id), snapshot.registered_set(set_id)
    if permission_set is None and registered is not None:
        sentence = f"permission set {set_id} is registered with JIT, but AWS does not have it any more"
        return [], [FieldError(field, "set_gone", sentence)]
    if permission_set is None or registered is None:
        sentence = f"permission set {set_id} is not registered with JIT; an administrator can register it"
        return [], [FieldError(field, "set_not_registered", sentence)]
    if permission_set.has_long_sessions and not registered.long_session_acknowledged:
        sentence = (
            f"sessions of {permission_set.name} were raised to {permission_set.session_duration} and would "
            "outlive the access; an administrator has to acknowledge that on the registered set"
        )
        return [], [FieldError(field, "long_session", sentence)]
    return [permission_set], []
