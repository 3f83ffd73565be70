"""What a request would become: targets expanded, every right asked, every stage checked. Pure.

`submit` and `preview` use the same plan, so a preview can never promise what a submit refuses. All
problems are found at once; each names the field and the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ticket.domain.description import check_description
from services.ticket.domain.draft import Draft, Pair, expand, find_people
from services.ticket.domain.window import Limits, check_reason, check_window
from shared.contracts.description import Description
from shared.contracts.documents import Account, PermissionSet, User
from shared.contracts.windows import WindowAsked
from shared.foundation.errors import FieldError
from shared.policy.matching import solvable
from shared.policy.names import NameReader, label
from shared.policy.row import Answer
from shared.policy.selection import RuleChoice
from shared.policy.snapshot import Snapshot
from shared.text.durations import format_duration


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
    strangers: tuple[str, ...]
    """Further ones, as the requester wrote them, of whom nothing may be said; each is a problem."""
    targets: tuple[PlannedTarget, ...]
    asked: WindowAsked
    length: timedelta
    reason: str
    description: Description
    problems: tuple[FieldError, ...]


def make_plan(draft: Draft, snapshot: Snapshot, *, now: datetime, limits: Limits) -> Plan:
    """Decide everything about a draft that can be decided now."""
    problems = [
        *check_reason(draft.reason, limits),
        *check_description(draft.description),
        *check_window(draft.asked, now=now, limits=limits),
    ]
    return decide(draft, problems, snapshot, now=now, limits=limits)


def decide(
    draft: Draft, problems: Sequence[FieldError], snapshot: Snapshot, *, now: datetime, limits: Limits
) -> Plan:
    """The plan of a draft whose texts and window were checked: people, targets, rights, stages."""
    names = NameReader(snapshot, draft.requester.id, now)
    named = find_people(draft, names)
    people = named.known
    pairs, pair_problems = expand(draft.targets, names, limits)
    problems = [*problems, *named.problems, *pair_problems]
    if len(people) * len(pairs) > limits.most_grants:
        problems.append(_too_many(len(people) * len(pairs), limits))
        pairs = []
    asked = _with_default_length(draft, people, pairs, snapshot, now=now, limits=limits)
    length = asked.length_from(now) or timedelta(0)
    planned: list[PlannedTarget] = []
    for pair in pairs:
        target, found = _plan_target(pair, draft, people, snapshot, length=length, now=now)
        planned.append(target)
        problems += found
    problems += _check_reference_given(draft, planned)
    return Plan(
        requester=draft.requester,
        beneficiaries=people,
        strangers=named.strangers,
        targets=tuple(planned),
        asked=asked,
        length=length,
        reason=draft.reason.strip(),
        description=draft.description,
        problems=tuple(problems),
    )


def _too_many(count: int, limits: Limits) -> FieldError:
    sentence = f"{count} grants in one ticket; the most is {limits.most_grants}: split the request"
    return FieldError("/targets", "too_many_grants", sentence)


def _with_default_length(
    draft: Draft,
    people: Sequence[User],
    pairs: Sequence[Pair],
    snapshot: Snapshot,
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
            longest = snapshot.longest(
                person.id, "request", account_id=pair.account.id, set_id=pair.permission_set.id, now=now
            )
            length = min(length, longest) if longest else length
    return asked.model_copy(update={"duration": length})


def _check_reference_given(draft: Draft, planned: Sequence[PlannedTarget]) -> list[FieldError]:
    """One problem for each rule that wants a reference, however many targets it is for."""
    if draft.description.reference is not None:
        return []
    wanting = dict.fromkeys(rule_id for target in planned for rule_id in target.choice.reference_for)
    return [
        FieldError(
            "/reference",
            "reference_required",
            f"rule {rule_id} wants a reference: name the change, incident or the like that this is for",
        )
        for rule_id in wanting
    ]


def _plan_target(
    pair: Pair,
    draft: Draft,
    people: Sequence[User],
    snapshot: Snapshot,
    *,
    length: timedelta,
    now: datetime,
) -> tuple[PlannedTarget, list[FieldError]]:
    allowed_by, problems = _ask_rights(pair, draft.requester, people, snapshot, length=length, now=now)
    choice = snapshot.rules_for(pair.account.id, pair.permission_set.id, length)
    parties = {draft.requester.id, *(person.id for person in people), *draft.other_parties}
    approvers = tuple(
        snapshot.who_may(
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
    pair: Pair,
    requester: User,
    people: Sequence[User],
    snapshot: Snapshot,
    *,
    length: timedelta,
    now: datetime,
) -> tuple[tuple[str, ...], list[FieldError]]:
    """Each beneficiary needs `request`; asking for somebody else needs `request_for` besides."""
    questions = [(person, "request") for person in people]
    if any(person.id != requester.id for person in people):
        questions.append((requester, "request_for"))
    rules: set[str] = set()
    problems = []
    for person, verb in questions:
        answer = snapshot.may(
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
            longest = snapshot.longest(
                person.id, verb, account_id=pair.account.id, set_id=pair.permission_set.id, now=now
            )
            problems.append(_not_permitted(pair, person, verb, answer, longest))
    return tuple(sorted(rules)), problems


def _not_permitted(
    pair: Pair, person: User, verb: str, answer: Answer, longest: timedelta | None
) -> FieldError:
    who = f"{person.user_name} may not request {_what(pair)}"
    if verb == "request_for":
        who += " for somebody else"
    if answer.code == "EXPLICIT_DENY":
        return FieldError(pair.field, "denied", f"{who}: denied by {', '.join(answer.rules)}")
    why = "no access scope allows it"
    if longest is not None:
        why = f"access scopes allow it for at most {format_duration(longest)}"
    return FieldError(pair.field, "not_permitted", f"{who}: {why}")


def _what(pair: Pair) -> str:
    return f"{label(pair.permission_set)} on {label(pair.account)}"


def _check_approvable(
    pair: Pair, choice: RuleChoice, approvers: tuple[frozenset[str], ...]
) -> list[FieldError]:
    what = _what(pair)
    if choice.auto_approved_by is None and not choice.stages:
        return [
            FieldError(pair.field, "no_rule", f"no approval rule covers {what}; an administrator can add one")
        ]
    if not solvable(choice.stages, approvers):
        sentence = f"{what} cannot be approved: there are not enough people besides those it is for"
        return [FieldError(pair.field, "unapprovable", sentence)]
    return []
