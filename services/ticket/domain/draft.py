"""What a request names, found: people, accounts and sets, with groups of sets expanded. Pure.

What a name or an ARN means is decided in shared/policy/names.py. Everything that is not there, not
registered or not to be asked for is a problem with its field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.ticket.domain.window import Limits
from shared.contracts.description import Description
from shared.contracts.documents import Account, PermissionSet, SetGroup, User
from shared.contracts.windows import WindowAsked
from shared.foundation.errors import FieldError
from shared.policy.names import NameReader, Unresolved, label

_NOTHING_MORE: Final = Description()


@dataclass(frozen=True)
class TargetAsked:
    """An account with a set, or with a group of sets that is expanded at submit; each by id, name or ARN."""

    account: str
    set: str | None = None
    set_group: str | None = None


@dataclass(frozen=True)
class Draft:
    """A request as it came in, syntactically sound and nothing more."""

    requester: User
    beneficiaries: tuple[str, ...]
    """By user id, user name or e-mail; empty means the requester."""
    targets: tuple[TargetAsked, ...]
    asked: WindowAsked
    reason: str
    description: Description = _NOTHING_MORE
    other_parties: frozenset[str] = frozenset()
    """User ids of those who may not decide on it either: the ticket's parties, where this is an extension."""


@dataclass(frozen=True)
class Pair:
    """An account and a set, with the place in the body it came from."""

    field: str
    account: Account
    permission_set: PermissionSet
    set_group: str | None
    """The group's id."""


@dataclass(frozen=True)
class People:
    """Whom a request names as beneficiaries."""

    known: tuple[User, ...]
    strangers: tuple[str, ...] = ()
    """As the requester wrote them, who may not look for people: whether they are there is not said."""
    problems: tuple[FieldError, ...] = ()


def find_people(draft: Draft, names: NameReader) -> People:
    """Beneficiaries, each exactly one enabled user; named twice counts once."""
    if not draft.beneficiaries:
        return People((draft.requester,))
    known: dict[str, User] = {}
    strangers: list[str] = []
    problems: list[FieldError] = []
    for index, text in enumerate(draft.beneficiaries):
        field = f"/beneficiaries/{index}"
        if _is_stranger(text, names):
            strangers.append(text)
            problems.append(_stranger(text, field))
            continue
        user, found = _find_person(text, field, names)
        problems += found
        if user is not None:
            known[user.id] = user
    return People(tuple(known.values()), tuple(strangers), tuple(problems))


def _is_stranger(text: str, names: NameReader) -> bool:
    """Whether it means nobody whom the requester could list, whoever is there."""
    found = names.resolve(User, text)
    return not names.sees(User, found if isinstance(found, str) else "")


def _stranger(text: str, field: str) -> FieldError:
    return FieldError(
        field,
        "beneficiary_unknown",
        f"there is no user {text} for whom you may request; nor may you look for any",
    )


def _find_person(text: str, field: str, names: NameReader) -> tuple[User | None, list[FieldError]]:
    found = names.resolve(User, text)
    if isinstance(found, Unresolved):
        return None, [FieldError(field, f"beneficiary_{found.problem}", found.detail)]
    user = names.snapshot.user(found)
    if user is None:
        return None, [FieldError(field, "beneficiary_unknown", names.unknown(User, text).detail)]
    if not user.enabled:
        return None, [FieldError(field, "beneficiary_disabled", f"{user.user_name} is disabled")]
    return user, []


def expand(
    targets: Sequence[TargetAsked], names: NameReader, limits: Limits
) -> tuple[list[Pair], list[FieldError]]:
    """Targets with their groups of sets expanded; the same pair named twice counts once."""
    pairs: dict[tuple[str, str], Pair] = {}
    problems: list[FieldError] = []
    if not targets:
        problems.append(FieldError("/targets", "no_targets", "name at least one account and permission set"))
    for index, target in enumerate(targets):
        field = f"/targets/{index}"
        account, account_problems = _find_account(target.account, f"{field}/account", names, limits)
        group, sets, set_problems = _find_sets(target, field, names)
        problems += account_problems + set_problems
        for permission_set in sets if account is not None else ():
            assert account is not None, "guarded by the loop's condition"  # noqa: S101
            key = (account.id, permission_set.id)
            pairs.setdefault(key, Pair(field, account, permission_set, group))
    return list(pairs.values()), problems


def _find_account(
    text: str, field: str, names: NameReader, limits: Limits
) -> tuple[Account | None, list[FieldError]]:
    found = names.resolve(Account, text)
    if isinstance(found, Unresolved):
        return None, [_not_one(field, "account", found)]
    account, registered = names.snapshot.get(Account, found), names.snapshot.registered_account(found)
    if registered is None:
        return None, [_not_one(field, "account", names.unknown(Account, text))]
    if account is None:
        sentence = f"account {found} is registered with JIT, but AWS does not have it any more"
        return None, [FieldError(field, "account_gone", sentence)]
    if account.state != "ACTIVE":
        return None, [FieldError(field, "account_not_active", f"AWS says the account is {account.state}")]
    # What an account is may have changed since it was registered.
    if (why := account.why_protected(limits.protected)) and not registered.protected_override:
        sentence = f"account {label(account)} is {why}; an administrator has to register it again as such"
        return None, [FieldError(field, "account_protected", sentence)]
    return account, []


def _find_sets(
    target: TargetAsked, field: str, names: NameReader
) -> tuple[str | None, list[PermissionSet], list[FieldError]]:
    """The group's id, where a group was named, and the sets."""
    if target.set is not None and target.set_group is None:
        return None, *_find_set(target.set, f"{field}/set", names)
    if target.set is not None or target.set_group is None:
        return None, [], [FieldError(field, "set_or_group", "give either set or set_group")]
    field = f"{field}/set_group"
    found = names.resolve(SetGroup, target.set_group)
    if isinstance(found, Unresolved):
        return None, [], [FieldError(field, f"set_group_{found.problem}", found.detail)]
    group = names.snapshot.get(SetGroup, found)
    if group is None:
        unknown = names.unknown(SetGroup, target.set_group)
        return None, [], [FieldError(field, "set_group_unknown", unknown.detail)]
    each = [_find_set(set_id, field, names) for set_id in group.sets]
    return group.id, [one for sets, _ in each for one in sets], [one for _, wrong in each for one in wrong]


def _find_set(text: str, field: str, names: NameReader) -> tuple[list[PermissionSet], list[FieldError]]:
    found = names.resolve(PermissionSet, text)
    if isinstance(found, Unresolved):
        return [], [_not_one(field, "set", found)]
    permission_set, registered = (
        names.snapshot.get(PermissionSet, found),
        names.snapshot.registered_set(found),
    )
    if registered is None:
        return [], [_not_one(field, "set", names.unknown(PermissionSet, text))]
    if permission_set is None:
        sentence = f"permission set {found} is registered with JIT, but AWS does not have it any more"
        return [], [FieldError(field, "set_gone", sentence)]
    if permission_set.has_long_sessions and not registered.long_session_acknowledged:
        sentence = (
            f"sessions of {permission_set.name} were raised to {permission_set.session_duration} and would "
            "outlive the access; an administrator has to acknowledge that on the registered set"
        )
        return [], [FieldError(field, "long_session", sentence)]
    return [permission_set], []


def _not_one(field: str, noun: str, found: Unresolved) -> FieldError:
    """What is not registered is not told apart from what is not there."""
    problem = "ambiguous" if found.problem == "ambiguous" else "not_registered"
    return FieldError(field, f"{noun}_{problem}", found.detail)
