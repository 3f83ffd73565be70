"""Which approval rules apply to a target, and the stages a review of it gets.

Pure: the matching rules come in with how specific they are. A snapshot finds them (snapshot.py);
who may vote in a stage is another question, asked of the policy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from shared.contracts.approval import Stage
from shared.contracts.documents import Account, ApprovalRule
from shared.policy.row import ANY
from shared.policy.tags import tag_selector


class Rank(NamedTuple):
    """How specific a selector is, the smaller the more: account selector first, then set selector."""

    accounts: int
    sets: int


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """The rules that apply, in the order of their stages.

    Without stages and without `auto_approved_by` nothing applies, and the target must be refused.
    """

    rules: tuple[ApprovalRule, ...] = ()
    stages: tuple[Stage, ...] = ()
    auto_approved_by: str | None = None
    """Id of the rule that approves without a vote."""
    reference_for: tuple[str, ...] = ()
    """Ids of the rules that want a reference. Beside those that apply, the most specific ones are asked, also
    where they would only have approved a shorter time: else a shorter auto-approval would ask for less."""


def account_ranks(account_id: str, account: Account | None) -> dict[str, int]:
    """Every selector of the account with its rank: account, then tags, then OUs from the nearest, then *."""
    ranks = {f"acct:{account_id}": 0}
    if account is not None:
        ranks |= {tag_selector(key, value): 1 for key, value in account.tags.items()}
        ranks |= {f"ou:{ou}": 2 + depth for depth, ou in enumerate(reversed(account.ous))}
    ranks[ANY] = max(ranks.values()) + 2
    return ranks


def set_ranks(set_id: str, set_groups: Iterable[str]) -> dict[str, int]:
    """Every selector of the permission set with its rank: set, then groups, then *."""
    return {f"ps:{set_id}": 0} | {f"psg:{group}": 1 for group in set_groups} | {ANY: 2}


def choose(matching: Sequence[tuple[Rank, ApprovalRule]], duration: timedelta) -> RuleChoice:
    """The most specific rules and every `always` rule.

    Auto-approval counts only from the most specific rank, where every rule of it auto-approves that
    length and no `always` rule applies. Longer than that, votes decide: the stages are those of the most
    specific rules that have any. An `always` rule adds to others and does not compete with them.
    """
    ordered = sorted(matching, key=lambda match: (match[0], match[1].id))
    always = [rule for _, rule in ordered if rule.always]
    always.sort(key=lambda rule: rule.id)
    ordinary = [(rank, rule) for rank, rule in ordered if not rule.always]
    first = _most_specific(ordinary)
    if first and all(_approves(rule, duration) for rule in first):
        if not always:
            return RuleChoice(
                rules=tuple(first), auto_approved_by=first[0].id, reference_for=_wanting_reference(first)
            )
        return _votes(always, first)
    voting = _most_specific([(rank, rule) for rank, rule in ordinary if rule.stages])
    return _votes([*voting, *always], first)


def _wanting_reference(rules: Iterable[ApprovalRule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.id for rule in rules if rule.reference_required))


def _most_specific(ordered: Sequence[tuple[Rank, ApprovalRule]]) -> list[ApprovalRule]:
    return [rule for rank, rule in ordered if rank == ordered[0][0]]


def _approves(rule: ApprovalRule, duration: timedelta) -> bool:
    longest = rule.auto_approve_up_to
    by_place = rule.accounts.startswith(("acct:", "ou:"))
    return longest is not None and by_place and not rule.stages and duration <= longest


def _votes(rules: Sequence[ApprovalRule], most_specific: Sequence[ApprovalRule]) -> RuleChoice:
    stages = tuple(
        Stage(
            rule_id=rule.id,
            index=index,
            approvers=stage.approvers,
            needed=stage.needed,
            denials=stage.denials,
        )
        for rule in rules
        for index, stage in enumerate(rule.stages, start=1)
    )
    return RuleChoice(
        rules=tuple(rules), stages=stages, reference_for=_wanting_reference([*most_specific, *rules])
    )
