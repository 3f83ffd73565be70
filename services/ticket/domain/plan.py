"""What a request would become: targets expanded, every right asked, every stage checked. Pure.

`submit` and `preview` use the same plan, so a preview can never promise what a submit refuses. All
problems are found at once; each names the field and the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ticket.domain.catalog import has_long_sessions, why_protected
from services.ticket.domain.window import (
    Limits,
    asked_length,
    check_reason,
    check_reference,
    check_window,
)
from shared.contracts.documents import Account, PermissionSet, SetGroup, User
from shared.contracts.ticket import WindowAsked
from shared.foundation.errors import FieldError
from shared.policy.matching import solvable
from shared.policy.selection import RuleChoice
from shared.policy.world import World


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
    """User names or user ids; empty means the requester himself."""
    targets: tuple[TargetAsked, ...]
    asked: WindowAsked
    reason: str
    reference: str | None = None


@dataclass(frozen=True)
class PlannedTarget:
    """One account and set that may be reviewed, with what decides about it."""

    account: Account
    permission_set: PermissionSet
    set_group: str | None
    allowed_by: tuple[str, ...]
    choice: RuleChoice
    approvers: tuple[frozenset[str], ...]
    """Who could vote, by stage: user ids, the parties left out."""


@dataclass(frozen=True)
class Plan:
    """The whole request, decided as far as it can be before anybody votes."""

    requester: User
    beneficiaries: tuple[User, ...]
    targets: tuple[PlannedTarget, ...]
    asked: WindowAsked
    length: timedelta
    reason: str
    reference: str | None
    problems: tuple[FieldError, ...]


@dataclass(frozen=True)
class _Pair:
    """An account and a set, with the place in the body it came from."""

    field: str
    account: Account
    permission_set: PermissionSet
    set_group: str | None


def make_plan(draft: Draft, world: World, *, now: datetime, limits: Limits) -> Plan:
    """Decide everything about a draft that can be decided now."""
    problems = [
        *check_reason(draft.reason),
        *check_reference(draft.reference),
        *check_window(draft.asked, now=now, limits=limits),
    ]
    people, people_problems = _find_people(draft, world)
    pairs, pair_problems = _expand(draft.targets, world, limits)
    problems += people_problems + pair_problems
    if len(people) * len(pairs) > limits.most_grants:
        problems.append(_too_many(len(people) * len(pairs), limits))
        pairs = []
    asked = _with_default_length(draft, people, pairs, world, now=now, limits=limits)
    length = asked_length(asked, now=now) or timedelta(0)
    planned: list[PlannedTarget] = []
    for pair in pairs:
        target, found = _plan_target(pair, draft.requester, people, world, length=length, now=now)
        planned.append(target)
        problems += found
    return Plan(
        requester=draft.requester,
        beneficiaries=tuple(people),
        targets=tuple(planned),
        asked=asked,
        length=length,
        reason=draft.reason.strip(),
        reference=draft.reference,
        problems=tuple(problems),
    )


def _too_many(count: int, limits: Limits) -> FieldError:
    sentence = f"{count} grants in one ticket; the most is {limits.most_grants}: split the request"
    return FieldError("/targets", "too_many_grants", sentence)


def _find_people(draft: Draft, world: World) -> tuple[list[User], list[FieldError]]:
    """Beneficiaries by name or id, each exactly one enabled user; named twice counts once."""
    if not draft.beneficiaries:
        return [draft.requester], []
    people: dict[str, User] = {}
    problems = []
    for index, name in enumerate(draft.beneficiaries):
        field = f"/beneficiaries/{index}"
        user = world.user(name) or _by_name(name, world)
        if user is None:
            sentence = f"there is no user {name!r} in the Identity Store; use the user name or user id"
            problems.append(FieldError(field, "beneficiary_unknown", sentence))
        elif not user.enabled:
            problems.append(FieldError(field, "beneficiary_disabled", f"{user.user_name} is disabled"))
        else:
            people[user.id] = user
    return list(people.values()), problems


def _by_name(name: str, world: World) -> User | None:
    matches = world.find_user("user_name", name)
    return matches[0] if len(matches) == 1 else None


def _expand(
    targets: Sequence[TargetAsked], world: World, limits: Limits
) -> tuple[list[_Pair], list[FieldError]]:
    """Targets with their groups of sets expanded; the same pair named twice counts once."""
    pairs: dict[tuple[str, str], _Pair] = {}
    problems: list[FieldError] = []
    if not targets:
        problems.append(FieldError("/targets", "no_targets", "name at least one account and permission set"))
    for index, target in enumerate(targets):
        field = f"/targets/{index}"
        account, account_problems = _find_account(target.account_id, f"{field}/account", world, limits)
        sets, set_problems = _find_sets(target, field, world)
        problems += account_problems + set_problems
        for permission_set in sets if account is not None else ():
            assert account is not None, "guarded by the loop's condition"  # noqa: S101
            key = (account.id, permission_set.id)
            pairs.setdefault(key, _Pair(field, account, permission_set, target.set_group))
    return list(pairs.values()), problems


def _find_account(
    account_id: str, field: str, world: World, limits: Limits
) -> tuple[Account | None, list[FieldError]]:
    account, registered = world.get(Account, account_id), world.registered_account(account_id)
    if account is None or registered is None:
        sentence = f"account {account_id} is not registered with JIT; an administrator can register it"
        return None, [FieldError(field, "account_not_registered", sentence)]
    if account.state != "ACTIVE":
        return None, [FieldError(field, "account_not_active", f"AWS says the account is {account.state}")]
    # What an account is may have changed since it was registered.
    if (why := why_protected(account, limits.protected)) and not registered.protected_override:
        sentence = f"account {account_id} is {why}; an administrator has to register it again as such"
        return None, [FieldError(field, "account_protected", sentence)]
    return account, []


def _find_sets(target: TargetAsked, field: str, world: World) -> tuple[list[PermissionSet], list[FieldError]]:
    if (target.set_id is None) == (target.set_group is None):
        return [], [FieldError(field, "set_or_group", "give either set or set_group")]
    if target.set_id is not None:
        return _find_set(target.set_id, f"{field}/set", world)
    group = world.get(SetGroup, target.set_group or "")
    if group is None:
        return [], [
            FieldError(f"{field}/set_group", "set_group_unknown", f"there is no group {target.set_group!r}")
        ]
    found = [_find_set(set_id, f"{field}/set_group", world) for set_id in group.sets]
    return [one for sets, _ in found for one in sets], [one for _, problems in found for one in problems]


def _find_set(set_id: str, field: str, world: World) -> tuple[list[PermissionSet], list[FieldError]]:
    permission_set, registered = world.get(PermissionSet, set_id), world.registered_set(set_id)
    if permission_set is None or registered is None:
        sentence = f"permission set {set_id} is not registered with JIT; an administrator can register it"
        return [], [FieldError(field, "set_not_registered", sentence)]
    if has_long_sessions(permission_set) and not registered.long_session_acknowledged:
        sentence = (
            f"sessions of {permission_set.name} were raised to {permission_set.session_duration} and would "
            "outlive the access; an administrator has to acknowledge that on the registered set"
        )
        return [], [FieldError(field, "long_session", sentence)]
    return [permission_set], []


def _with_default_length(
    draft: Draft,
    people: Sequence[User],
    pairs: Sequence[_Pair],
    world: World,
    *,
    now: datetime,
    limits: Limits,
) -> WindowAsked:
    """Neither end nor duration: the default, capped by what the scopes allow everybody on every target."""
    asked = draft.asked
    if asked.ends_at is not None or asked.duration is not None:
        return asked
    length = limits.default_window
    for pair in pairs:
        for person in people:
            longest = world.longest(
                person.id, "request", account_id=pair.account.id, set_id=pair.permission_set.id, now=now
            )
            length = min(length, longest) if longest else length
    return asked.model_copy(update={"duration": length})


def _plan_target(
    pair: _Pair, requester: User, people: Sequence[User], world: World, *, length: timedelta, now: datetime
) -> tuple[PlannedTarget, list[FieldError]]:
    allowed_by, problems = _ask_rights(pair, requester, people, world, length=length, now=now)
    choice = world.rules_for(pair.account.id, pair.permission_set.id, length)
    parties = {requester.id, *(person.id for person in people)}
    approvers = tuple(
        world.who_may(
            f"approve/{stage.rule_id}/{stage.index}",
            account_id=pair.account.id,
            set_id=pair.permission_set.id,
            duration=length,
            now=now,
        )
        - parties
        for stage in choice.stages
    )
    problems += _check_approvable(pair, choice, approvers)
    target = PlannedTarget(
        account=pair.account,
        permission_set=pair.permission_set,
        set_group=pair.set_group,
        allowed_by=allowed_by,
        choice=choice,
        approvers=approvers,
    )
    return target, problems


def _ask_rights(
    pair: _Pair, requester: User, people: Sequence[User], world: World, *, length: timedelta, now: datetime
) -> tuple[tuple[str, ...], list[FieldError]]:
    """Each beneficiary needs `request`; asking for somebody else needs `request_for` besides."""
    questions = [(person, "request") for person in people]
    if any(person.id != requester.id for person in people):
        questions.append((requester, "request_for"))
    rules: set[str] = set()
    problems = []
    for person, verb in questions:
        answer = world.may(
            person.id,
            verb,
            account_id=pair.account.id,
            set_id=pair.permission_set.id,
            duration=length,
            now=now,
        )
        if answer.allowed:
            rules.update(answer.rules)
        else:
            problems.append(_not_permitted(pair, person, verb, answer.code, answer.rules))
    return tuple(sorted(rules)), problems


def _not_permitted(pair: _Pair, person: User, verb: str, code: str, rules: Sequence[str]) -> FieldError:
    what = f"{pair.permission_set.name} on {pair.account.name}"
    who = f"{person.user_name} may not request {what}"
    if verb == "request_for":
        who = f"{person.user_name} may not request {what} for somebody else"
    if code == "EXPLICIT_DENY":
        return FieldError(pair.field, "denied", f"{who}: denied by {', '.join(rules)}")
    return FieldError(pair.field, "not_permitted", f"{who}: no access scope allows it for this long")


def _check_approvable(
    pair: _Pair, choice: RuleChoice, approvers: tuple[frozenset[str], ...]
) -> list[FieldError]:
    what = f"{pair.permission_set.name} on {pair.account.name}"
    if choice.auto_approved_by is None and not choice.stages:
        return [
            FieldError(pair.field, "no_rule", f"no approval rule covers {what}; an administrator can add one")
        ]
    if not solvable(choice.stages, approvers):
        sentence = f"{what} cannot be approved: there are not enough people besides you and the beneficiaries"
        return [FieldError(pair.field, "unapprovable", sentence)]
    return []
