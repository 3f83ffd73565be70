import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis.strategies import text

from shared.contracts.documents import AccessScope, ApprovalRule, RuleStage
from shared.policy.matching import solvable
from shared.policy.row import ALWAYS, FOREVER, SLUG, RowRefused
from shared.policy.snapshot import Snapshot
from shared.policy.validation import validate_rule, validate_scope
from tests.support import policy_example as example
from tests.support.policy_example import ADMIN, RO, D, P, rule, scope

HOUR = timedelta(hours=1)
ANN, ROOT = "user:ann", "user:root"


def auto(rule_id: str, accounts: str, up_to: timedelta = HOUR, sets: str = "*") -> ApprovalRule:
    return rule(rule_id, accounts, sets, auto_approve_up_to=up_to)


def always(rule_id: str, accounts: str = "*") -> ApprovalRule:
    return rule(rule_id, accounts, "*", ROOT, always=True)


@dataclass(frozen=True)
class Selection:
    """Rules, and which of them must apply to ADMIN on P for an hour."""

    name: str
    rules: tuple[ApprovalRule, ...]
    expected: tuple[str, ...]
    auto: str | None = None
    duration: timedelta = HOUR


SELECTIONS = (
    Selection("nothing applies", (rule("a", "ou:dev", "*", ANN),), ()),
    Selection(
        "account over tag", (rule("a", f"acct:{P}", "*", ANN), rule("b", "tag:env=prod", "*", ANN)), ("a",)
    ),
    Selection("tag over ou", (rule("a", "ou:prod", "*", ANN), rule("b", "tag:env=prod", "*", ANN)), ("b",)),
    Selection("nearest ou", (rule("a", "ou:root", "*", ANN), rule("b", "ou:prod", "*", ANN)), ("b",)),
    Selection("ou over star", (rule("a", "*", "*", ANN), rule("b", "ou:root", "*", ANN)), ("b",)),
    Selection(
        "set over group", (rule("a", "*", "psg:elevated", ANN), rule("b", "*", f"ps:{ADMIN}", ANN)), ("b",)
    ),
    Selection("group over any", (rule("a", "*", "*", ANN), rule("b", "*", "psg:elevated", ANN)), ("b",)),
    Selection(
        "account decides before set",
        (rule("a", f"acct:{P}", "*", ANN), rule("b", "ou:prod", f"ps:{ADMIN}", ANN)),
        ("a",),
    ),
    Selection("other set", (rule("a", f"acct:{P}", f"ps:{RO}", ANN), rule("b", "*", "*", ANN)), ("b",)),
    Selection("ties by id", (rule("b", "ou:prod", "*", ANN), rule("a", "ou:prod", "*", ROOT)), ("a", "b")),
    Selection("always after the chosen", (always("a"), rule("b", "ou:prod", "*", ANN)), ("b", "a")),
    Selection("always of elsewhere", (always("a", "ou:dev"), rule("b", "ou:prod", "*", ANN)), ("b",)),
    Selection("always alone", (always("b"), always("a")), ("a", "b")),
    Selection("always does not compete", (always("a", f"acct:{P}"), rule("b", "*", "*", ANN)), ("b", "a")),
    Selection("auto at its limit", (auto("a", "ou:prod"),), ("a",), auto="a"),
    Selection("auto beyond its limit", (auto("a", "ou:prod"),), (), duration=HOUR + example.TICK),
    Selection(
        "longer than auto goes to votes",
        (auto("a", "ou:prod"), rule("b", "*", "*", ANN)),
        ("b",),
        duration=HOUR + example.TICK,
    ),
    Selection(
        "a wider auto does not stand in",
        (auto("a", "ou:prod"), auto("b", "ou:root", 8 * HOUR)),
        (),
        duration=2 * HOUR,
    ),
    Selection("auto of a less specific rule", (auto("a", "ou:root"), rule("b", "ou:prod", "*", ANN)), ("b",)),
    Selection("no auto beside always", (auto("a", "ou:prod"), always("z")), ("z",)),
    Selection("votes win a tie", (auto("a", "ou:prod"), rule("b", "ou:prod", "*", ANN)), ("b",)),
    Selection("strictest auto of a tie", (auto("a", "ou:prod"), auto("b", "ou:prod", HOUR / 2)), ()),
)


@pytest.mark.parametrize("case", SELECTIONS, ids=lambda case: case.name)
def test_rules_for_a_target_choose_the_most_specific(case: Selection) -> None:
    snapshot = _with(case.rules)
    choice = snapshot.rules_for(P, ADMIN, case.duration)
    assert tuple(rule.id for rule in choice.rules) == case.expected
    assert choice.auto_approved_by == case.auto
    assert tuple(stage.rule_id for stage in choice.stages) == (() if case.auto else case.expected)


@pytest.mark.parametrize("case", SELECTIONS, ids=lambda case: case.name)
def test_rules_for_a_target_do_not_depend_on_the_order_of_documents(case: Selection) -> None:
    assert _with(case.rules).rules_for(P, ADMIN, case.duration) == _with(case.rules[::-1]).rules_for(
        P, ADMIN, case.duration
    )


@pytest.mark.parametrize(
    ("rules", "duration", "wanting"),
    [
        ((rule("a", "ou:prod", "*", ANN),), HOUR, ("a",)),
        ((rule("a", "*", "*", ANN), rule("b", "ou:prod", "*", ANN)), HOUR, ("b",)),
        ((always("a"), rule("b", "ou:prod", "*", ANN)), HOUR, ("b", "a")),
        ((auto("a", "ou:prod"), rule("b", "*", "*", ANN)), HOUR, ("a",)),
        ((auto("a", "ou:prod"), rule("b", "*", "*", ANN)), 2 * HOUR, ("a", "b")),
        ((auto("a", "ou:prod"), always("b")), HOUR, ("a", "b")),
    ],
)
def test_reference_is_wanted_by_the_rules_that_apply_and_the_most_specific(
    rules: Sequence[ApprovalRule], duration: timedelta, wanting: tuple[str, ...]
) -> None:
    plain = _with(rules).rules_for(P, ADMIN, duration)
    assert plain.reference_for == ()
    strict = _with([one.model_copy(update={"reference_required": True}) for one in rules])
    choice = strict.rules_for(P, ADMIN, duration)
    assert choice.reference_for == wanting
    assert (choice.stages, choice.auto_approved_by) == (plain.stages, plain.auto_approved_by)


def test_rules_for_give_stages_their_place_in_their_rule() -> None:
    two = rule("a", "ou:prod", "*", ANN)
    two = two.model_copy(update={"stages": (*two.stages, RuleStage(approvers=(ROOT,), needed=2, denials=3))})
    stages = _with((two,)).rules_for(P, ADMIN, HOUR).stages
    assert [(stage.rule_id, stage.index, stage.needed, stage.denials) for stage in stages] == [
        ("a", 1, 1, 1),
        ("a", 2, 2, 3),
    ]


def test_rules_for_follow_changes_and_deletions() -> None:
    snapshot = _with((rule("a", "ou:prod", "*", ANN),))
    snapshot = snapshot.replace(rule("a", "ou:dev", "*", ANN, revision=2))
    assert snapshot.rules_for(P, ADMIN, HOUR).rules == ()
    assert snapshot.rules_for(D, ADMIN, HOUR).rules[0].id == "a"
    snapshot = snapshot.replace(rule("a", "ou:dev", "*", ANN, revision=3, deleted=True))
    assert snapshot.rules_for(D, ADMIN, HOUR).rules == ()


def _with(rules: Sequence[ApprovalRule]) -> Snapshot:
    """The worked example with these rules in the place of its own."""
    others = [one for one in example.documents() if not isinstance(one, ApprovalRule)]
    return Snapshot.of(documents=[*others, *rules])


def _stages(*needed: int) -> list[RuleStage]:
    return [RuleStage(approvers=("user:x",), needed=count) for count in needed]


@pytest.mark.parametrize(
    ("needed", "candidates", "used", "given", "expected"),
    [
        ((), (), (), (), True),
        ((1,), ("",), (), (), False),
        ((1,), ("a",), (), (), True),
        ((1, 1), ("a", "a"), (), (), False),
        ((1, 1), ("ab", "a"), (), (), True),
        ((2, 1), ("abc", "a"), (), (), True),
        ((2, 1), ("ab", "ab"), (), (), False),
        ((1, 1, 1), ("ab", "bc", "ca"), (), (), True),
        ((2, 2, 1), ("abc", "bcd", "ae"), (), (), True),
        ((1, 1), ("ab", "bc"), "b", (), True),
        ((1, 1), ("ab", "b"), "b", (), False),
        ((2, 1), ("ab", "bc"), "a", (1, 0), True),
        ((1, 1), ("a", "b"), "a", (1, 0), True),
        ((1, 1), ("a", "b"), "ab", (1, 1), True),
        ((1, 1), ("a", "b"), "ab", (1, 0), False),
    ],
)
def test_solvable_needs_distinct_people(
    needed: tuple[int, ...], candidates: tuple[str, ...], used: str, given: tuple[int, ...], expected: bool
) -> None:
    assert solvable(_stages(*needed), candidates, used=used, given=given) is expected


def test_solvable_with_sequences_that_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="per stage"):
        solvable(_stages(1), [])


def test_validate_of_the_example_finds_nothing() -> None:
    snapshot = example.snapshot()
    assert [error for one in snapshot.all(ApprovalRule) for error in validate_rule(one, snapshot)] == []
    assert [error for one in snapshot.all(AccessScope) for error in validate_scope(one, snapshot)] == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (rule("r", "acct:000000000000", "*", ANN), {"account_unknown"}),
        (rule("r", "ou:nowhere", "*", ANN), {"ou_unknown"}),
        (rule("r", "prod", "*", ANN), {"selector_malformed"}),
        (rule("r", "*", "ps:nothing", ANN), {"set_unknown"}),
        (rule("r", "*", "psg:nothing", ANN), {"set_group_unknown"}),
        (rule("r", "*", "*", "user:nobody"), {"user_unknown", "too_few_approvers"}),
        (rule("r", "*", "*", "group:nobody"), {"group_unknown", "too_few_approvers"}),
        (rule("r", "*", "*", "*"), {"subject_star", "too_few_approvers"}),
        (rule("r", "*", "*", "role:admin"), {"subject_malformed"}),
        (rule("r", "*", "*"), {"no_stages"}),
        (rule("r", "*", "*", stages=(RuleStage(approvers=()),)), {"nobody"}),
        (
            rule("r", "*", "*", stages=(RuleStage(approvers=(ANN, "group:dev"), needed=4),)),
            {"too_few_approvers"},
        ),
        (rule("r", "*", "*", stages=(RuleStage(approvers=(ANN, "group:dev"), needed=3),)), set()),
        (auto("r", "tag:env=prod"), {"auto_by_selector"}),
        (auto("r", "*"), {"auto_by_selector"}),
        (auto("r", "ou:prod", -HOUR), {"duration_negative"}),
        (auto("r", "ou:prod", timedelta(0)), {"duration_zero"}),
        (rule("r", "ou:prod", "*", ANN, auto_approve_up_to=HOUR), {"auto_with_stages"}),
        (rule("r", "ou:prod", "*", always=True, auto_approve_up_to=HOUR), {"auto_with_always"}),
        (auto("r", "ou:prod"), set()),
    ],
)
def test_validate_rule_names_what_is_wrong(wrong: ApprovalRule, expected: set[str]) -> None:
    assert {error.code for error in validate_rule(wrong, example.snapshot())} == expected


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (scope("s", "*", "*", "*", 60), {"subject_star"}),
        (scope("s", "group:none", "*", "*", 60), {"group_unknown"}),
        (scope("s", "user:none", "*", "*", 60), {"user_unknown"}),
        (scope("s", ANN, "acct:12", "*", 60), {"selector_malformed", "account_unknown"}),
        (scope("s", ANN, "*", "*", 60, subjects=()), {"nobody"}),
        (scope("s", ANN, "*", "*", 60, verbs=()), {"no_verbs"}),
        (scope("s", ANN, "*", "*", -1), {"duration_negative"}),
        (scope("s", ANN, "*", "*", 0), {"duration_zero"}),
        (scope("s", ANN, "*", "*", 0, effect="deny"), set()),
        (scope("s", ANN, "*", "*", 1, valid_from=example.TEN, valid_until=example.TEN), {"never_valid"}),
        (scope("s", ANN, "tag:cost center=a b/c", "*", 1), set()),
    ],
)
def test_validate_scope_names_what_is_wrong(wrong: AccessScope, expected: set[str]) -> None:
    assert {error.code for error in validate_scope(wrong, example.snapshot())} == expected


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"id": "abc-"}, "", "row_refused"),
        ({"id": "x" * 129}, "", "row_refused"),
        ({"valid_until": ALWAYS}, "/valid_until", "never_valid"),
        ({"valid_from": FOREVER}, "/valid_until", "never_valid"),
        ({"valid_from": ALWAYS, "valid_until": FOREVER}, None, None),
    ],
)
def test_validate_scope_and_the_policy_refuse_the_same(
    fields: dict[str, object], field: str | None, code: str | None
) -> None:
    snapshot = example.snapshot()
    tried = scope("new", "user:ann", "*", "*", 60).model_copy(update=fields)
    errors = [(error.field, error.code) for error in validate_scope(tried, snapshot)]
    assert errors == ([] if code is None else [(field, code)])
    with contextlib.nullcontext() if code is None else pytest.raises(RowRefused):
        snapshot.replace(tried)


def test_validate_rule_refuses_an_id_that_no_row_can_hold() -> None:
    snapshot = example.snapshot()
    tried = rule("abc-", "*", "*", ANN)
    assert [error.code for error in validate_rule(tried, snapshot)] == ["row_refused"]
    with pytest.raises(RowRefused):
        snapshot.replace(tried)


@given(text(alphabet="abz019-", min_size=1, max_size=70))
def test_slug_is_always_an_id_that_rows_can_hold(slug: str) -> None:
    if re.fullmatch(SLUG, slug) is not None:
        assert example.snapshot().replace(scope(slug, "user:ann", "*", f"psg:{slug}", 60))
