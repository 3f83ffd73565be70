"""The order of each kind compared with the effect: what is said to narrow gives nobody more, in small worlds.

A world is a few documents of all kinds. Its effect is everything that may be asked of it: who may request
what for how long, who may stop and read what, and which people together would be enough to approve it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.configuration.kind import Kind
from shared.configuration.kinds.every import KINDS
from shared.configuration.kinds.sensitive_mark import SensitiveMark
from shared.configuration.order import NARROWS, NEITHER, WIDENS, Direction, all_of, reverse
from shared.contracts.documents import (
    AccessScope,
    Account,
    ApprovalRule,
    Document,
    Membership,
    PermissionSet,
    RegisteredAccount,
    RegisteredSet,
    RuleStage,
    SetGroup,
    User,
)
from shared.policy.matching import solvable
from shared.policy.row import RowRefused
from shared.policy.rows import approve_verb
from shared.policy.snapshot import Snapshot
from tests.support.policy_example import EIGHT, NINE, TEN

ACCOUNTS, SETS, PEOPLE = ("111111111111", "222222222222"), ("ps-a", "ps-b"), ("ann", "bob", "carl")
SUBJECTS = ("user:ann", "user:bob", "user:carl", "group:g")
SELECTORS = ("*", f"acct:{ACCOUNTS[0]}", "ou:prod", "tag:env=prod")
SET_SELECTORS = ("*", "ps:ps-a", "psg:s")
LENGTHS = tuple(timedelta(hours=hours) for hours in (1, 2, 4))
MOMENTS = (EIGHT, NINE)

some_subjects = st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=3, unique=True).map(tuple)


def scopes(scope_id: str) -> st.SearchStrategy[AccessScope]:
    return st.builds(
        AccessScope,
        id=st.just(scope_id),
        name=st.sampled_from(("one", "two")),
        subjects=some_subjects,
        verbs=st.sampled_from((("request",), ("request_for",), ("request", "request_for"))),
        accounts=st.sampled_from(SELECTORS),
        sets=st.sampled_from(SET_SELECTORS),
        max_duration=st.sampled_from(LENGTHS),
        effect=st.sampled_from(("allow", "allow", "deny")),
        valid_from=st.sampled_from((None, NINE)),
        valid_until=st.sampled_from((None, TEN)),
    )


stages = st.lists(
    st.builds(RuleStage, approvers=some_subjects, needed=st.integers(1, 2), denials=st.integers(1, 2)),
    max_size=2,
).map(tuple)


def rules(rule_id: str) -> st.SearchStrategy[ApprovalRule]:
    places = {"accounts": st.sampled_from(SELECTORS), "sets": st.sampled_from(SET_SELECTORS)}
    voting = st.builds(
        ApprovalRule,
        id=st.just(rule_id),
        name=st.just(rule_id),
        stages=stages,
        always=st.booleans(),
        reference_required=st.booleans(),
        **places,
    )
    auto = st.builds(
        ApprovalRule,
        id=st.just(rule_id),
        name=st.just(rule_id),
        auto_approve_up_to=st.sampled_from(LENGTHS),
        reference_required=st.booleans(),
        **places,
    )
    return voting | auto


DOCUMENTS: dict[str, Any] = {
    "account": st.builds(
        RegisteredAccount,
        id=st.just(ACCOUNTS[0]),
        labels=st.sampled_from(({}, {"a": "b"})),
        protected_override=st.booleans(),
    ),
    "set": st.builds(RegisteredSet, id=st.just("ps-a"), long_session_acknowledged=st.booleans()),
    "set_group": st.builds(
        SetGroup,
        id=st.just("s"),
        name=st.sampled_from(("one", "two")),
        sets=st.sampled_from(((), ("ps-a",), ("ps-b",), ("ps-a", "ps-b"))),
    ),
    "scope": scopes("x"),
    "rule": rules("x"),
    "sensitive_mark": st.builds(
        SensitiveMark, id=st.just(ACCOUNTS[0]), why=st.sampled_from(("card numbers", "all keys"))
    ),
}
"""A document of each kind that is to change. A new kind needs a line here."""

FIXED: tuple[Document, ...] = (
    *(User(id=name, user_name=name) for name in PEOPLE),
    Account(id=ACCOUNTS[0], name="p", state="ACTIVE", ous=("root", "prod"), management=True),
    Account(id=ACCOUNTS[1], name="d", state="ACTIVE", ous=("root", "dev"), tags={"env": "prod"}),
    PermissionSet(id="ps-a", arn="a", name="a", digest="a", session_duration=timedelta(hours=12)),
    PermissionSet(id="ps-b", arn="b", name="b", digest="b"),
)
others = st.tuples(
    st.builds(Membership, id=st.just("g/0"), members=st.sampled_from(((), ("ann",), ("bob", "carl")))),
    st.builds(RegisteredAccount, id=st.sampled_from(ACCOUNTS), protected_override=st.booleans()),
    st.builds(RegisteredSet, id=st.sampled_from(SETS), long_session_acknowledged=st.booleans()),
    st.builds(SetGroup, id=st.just("s"), name=st.just("s"), sets=st.sampled_from(((), ("ps-a",), SETS))),
    scopes("o1"),
    scopes("o2"),
    rules("a"),
    rules("y"),
)


def kept(document: Document) -> bool:
    """Whether the policy takes it: some rules made here have no stage, or approve by a tag."""
    try:
        Snapshot.of(documents=[document])
    except RowRefused:
        return False
    return True


def _stages(rule: ApprovalRule, **update: Any) -> ApprovalRule:
    changed = tuple(stage.model_copy(update=update) for stage in rule.stages)
    return rule.model_copy(update={"stages": changed})


STEPS = (
    lambda rule: rule.model_copy(update={"always": bool(rule.stages)}),
    lambda rule: rule.model_copy(update={"reference_required": True}),
    lambda rule: _stages(rule, needed=2),
    lambda rule: _stages(rule, denials=1),
    lambda rule: _stages(rule, approvers=("user:ann",)),
    lambda rule: rule.model_copy(update={"stages": (*rule.stages, *rule.stages[:1])}),
    lambda rule: rule.model_copy(update={"auto_approve_up_to": rule.auto_approve_up_to and LENGTHS[0]}),
)
"""Small changes of a rule, among them every one that may narrow."""


@st.composite
def changes(draw: st.DrawFn, kind: Kind[Any]) -> tuple[Document | None, Document | None]:
    """Two states of one document; mostly with one field different, else hardly any pair would be ordered."""
    document = DOCUMENTS[kind.noun].filter(kept)
    if kind.noun == "rule" and draw(st.booleans()):
        rule = draw(document)
        return rule, draw(st.sampled_from(STEPS))(rule)
    before, after = draw(st.none() | document), draw(st.none() | document)
    if before is not None and after is not None and draw(st.integers(0, 4)):
        names = [name for name in type(before).model_fields if name not in set(Document.model_fields)]
        field = draw(st.sampled_from(names))
        one_field = before.model_copy(update={field: getattr(after, field)})
        after = one_field if kept(one_field) else after
    return before, after


def given_by(snapshot: Snapshot) -> Iterator[tuple[object, ...]]:
    """Everything anybody is given: each tuple is one thing that may be done."""
    for account, wanted in ((one, other) for one in ACCOUNTS for other in SETS):
        for person in PEOPLE:
            for verb in ("terminate", "ticket.read"):
                if snapshot.may(person, verb, account, wanted, now=NINE).allowed:
                    yield verb, person, account, wanted
        if _registered(snapshot, account, wanted):
            yield from _requests(snapshot, account, wanted)
        for length in LENGTHS:
            without = not snapshot.rules_for(account, wanted, length).reference_for
            for voters in _enough(snapshot, account, wanted, length):
                yield "approve", account, wanted, length, voters
                if without:
                    yield "approve without a reference", account, wanted, length, voters
            yield from _denials(snapshot, account, wanted, length)


def _registered(snapshot: Snapshot, account_id: str, set_id: str) -> bool:
    account, registered = snapshot.get(Account, account_id), snapshot.registered_account(account_id)
    wanted, known = snapshot.get(PermissionSet, set_id), snapshot.registered_set(set_id)
    if account is None or registered is None or wanted is None or known is None:
        return False
    return (not account.management or registered.protected_override) and (
        not wanted.has_long_sessions or known.long_session_acknowledged
    )


def _requests(snapshot: Snapshot, account: str, wanted: str) -> Iterator[tuple[object, ...]]:
    for person in PEOPLE:
        for verb in ("request", "request_for"):
            for length in LENGTHS:
                for now in MOMENTS:
                    if snapshot.may(person, verb, account, wanted, duration=length, now=now).allowed:
                        yield verb, person, account, wanted, length, now


def _enough(snapshot: Snapshot, account: str, wanted: str, length: timedelta) -> Iterator[frozenset[str]]:
    """Every set of people who together can fill all stages; also nobody, where a rule approves."""
    choice = snapshot.rules_for(account, wanted, length)
    if not choice.stages and choice.auto_approved_by is None:
        return
    may = [
        snapshot.who_may(approve_verb(stage.rule_id, stage.index), account, wanted, duration=length, now=NINE)
        for stage in choice.stages
    ]
    for voters in chain.from_iterable(combinations(PEOPLE, count) for count in range(len(PEOPLE) + 1)):
        if solvable(choice.stages, [people & set(voters) for people in may]):
            yield frozenset(voters)


def _denials(
    snapshot: Snapshot, account: str, wanted: str, length: timedelta
) -> Iterator[tuple[object, ...]]:
    """A stage that outlives a denial gives more than one that does not."""
    for stage in snapshot.rules_for(account, wanted, length).stages:
        for survived in range(1, stage.denials):
            yield "denied", account, wanted, length, stage.rule_id, stage.index, survived


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)
def test_what_narrows_by_its_order_gives_nobody_more(kind: Kind[Any]) -> None:
    seen: Counter[Direction] = Counter()

    @settings(max_examples=max(120, settings.default.max_examples))
    @given(changes(kind), others)
    def compare(change: tuple[Document | None, Document | None], around: Sequence[Document]) -> None:
        before, after = change
        order = kind.order(before, after)
        seen[order] += 1
        key = (before or after or FIXED[0]).key
        beside = [one for one in around if one.key != key and kept(one)]
        world = Snapshot.of(documents=[*FIXED, *beside])
        first = world if before is None else world.replace(before)
        last = world if after is None else world.replace(after)
        if before is None and after is None:
            assert order is NEITHER
        if order is not WIDENS:
            gained = set(given_by(last)) - set(given_by(first))
            asked = _stages_of(first)
            gained = {one for one in gained if one[0] != "denied" or one[1:6] in asked}
            assert not gained, (before, after, around)
        effect = kind.effect(before, after, world)
        if effect is NEITHER:
            assert set(given_by(first)) == set(given_by(last))

    compare()
    assert seen[WIDENS] > 12, seen
    assert seen[NEITHER] > 3, seen
    if kind.noun != "set_group":
        assert seen[NARROWS] > 3, seen


def _stages_of(snapshot: Snapshot) -> set[tuple[object, ...]]:
    """Every stage that is asked, and where; one that comes in is one more to pass, whatever it survives."""
    return {
        (account, wanted, length, stage.rule_id, stage.index)
        for account in ACCOUNTS
        for wanted in SETS
        for length in LENGTHS
        for stage in snapshot.rules_for(account, wanted, length).stages
    }


BOTH = RuleStage(approvers=("user:ann", "user:bob"))
RULE = ApprovalRule(id="r", name="r", accounts="*", sets="*", stages=(BOTH,))
ALLOW = AccessScope(
    id="s", name="s", subjects=("user:ann", "group:g"), accounts="*", sets="*", max_duration=LENGTHS[1]
)
DENY = ALLOW.model_copy(update={"effect": "deny"})
TWO = (*RULE.stages, RuleStage(approvers=("user:ann",)))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, ALLOW, WIDENS),
        (ALLOW, None, NARROWS),
        (None, DENY, NARROWS),
        (DENY, None, WIDENS),
        (ALLOW, DENY, NARROWS),
        (DENY, ALLOW, WIDENS),
        (ALLOW, ALLOW.model_copy(update={"name": "other"}), NEITHER),
        (ALLOW, ALLOW.model_copy(update={"max_duration": LENGTHS[0]}), NARROWS),
        (ALLOW, ALLOW.model_copy(update={"max_duration": LENGTHS[2]}), WIDENS),
        (DENY, DENY.model_copy(update={"max_duration": LENGTHS[2]}), NEITHER),
        (ALLOW, ALLOW.model_copy(update={"subjects": ("user:ann",)}), NARROWS),
        (DENY, DENY.model_copy(update={"subjects": ("user:ann",)}), WIDENS),
        (ALLOW, ALLOW.model_copy(update={"accounts": "ou:prod"}), NARROWS),
        (ALLOW.model_copy(update={"accounts": "ou:prod"}), ALLOW, WIDENS),
        (ALLOW, ALLOW.model_copy(update={"valid_until": TEN}), NARROWS),
        (ALLOW.model_copy(update={"valid_until": TEN}), ALLOW, WIDENS),
        (
            ALLOW,
            ALLOW.model_copy(update={"subjects": ("user:ann",), "max_duration": LENGTHS[2]}),
            WIDENS,
        ),
        (None, RULE, WIDENS),
        (RULE, None, WIDENS),
        (RULE, RULE.model_copy(update={"always": True}), NARROWS),
        (RULE.model_copy(update={"always": True}), RULE, WIDENS),
        (RULE, RULE.model_copy(update={"reference_required": True}), NARROWS),
        (RULE.model_copy(update={"reference_required": True}), RULE, WIDENS),
        (RULE, RULE.model_copy(update={"stages": TWO}), NARROWS),
        (RULE.model_copy(update={"stages": TWO}), RULE, WIDENS),
        (RULE, RULE.model_copy(update={"accounts": "ou:prod"}), WIDENS),
        (RULE, RULE.model_copy(update={"stages": (RuleStage(approvers=("user:ann",)),)}), NARROWS),
        (RULE, RULE.model_copy(update={"stages": (RuleStage(approvers=("user:carl",)),)}), WIDENS),
    ],
)  # fmt: skip
def test_order_of_scopes_and_rules(
    before: Document | None, after: Document | None, expected: Direction
) -> None:
    (kind,) = [one for one in KINDS if one.document is type(after or before)]
    assert kind.order(before, after) is expected


def test_a_change_narrows_only_if_no_step_of_it_widens() -> None:
    assert all_of(NARROWS, NEITHER) is NARROWS
    assert all_of(NARROWS, WIDENS) is WIDENS
    assert all_of() is NEITHER
    assert [reverse(one) for one in Direction] == [NEITHER, WIDENS, NARROWS]
