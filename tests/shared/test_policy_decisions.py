import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.policy import engine, row
from shared.policy.engine import MODEL_TEXT, Matcher, PolicyEngine
from shared.policy.row import ALWAYS, FOREVER, Ask, Row, RowRefused
from tests.support import policy_example as example
from tests.support.policy_example import ADMIN, NINE, RO, TABLE, Case, D, P

DEV = Row("request", "group:dev", "ou:dev", "psg:elevated", 3600.0, ALWAYS, FOREVER, "allow", "scope/S1")


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_decide_of_the_worked_example_answers_as_the_table_says(case: Case) -> None:
    assert case.holds(example.snapshot())


def test_decide_after_the_account_moved_follows_its_new_place() -> None:
    snapshot = example.snapshot()
    snapshot = snapshot.replace(example.account(D, "prod", revision=2))
    refused = snapshot.may("ann", "request", D, ADMIN, duration=timedelta(minutes=480), now=NINE)
    assert refused.code == "NO_RULE"
    assert snapshot.may("carl", "approve/A1/1", D, ADMIN, now=NINE).allowed


def test_decide_after_leaving_the_group_is_refused() -> None:
    snapshot = example.snapshot()
    snapshot = snapshot.replace(*example.members("dev", "bob", revision=2))
    assert snapshot.may("ann", "request", D, RO, now=NINE).code == "NO_RULE"
    assert snapshot.may("bob", "request", D, RO, now=NINE).allowed


def test_may_of_a_disabled_user_is_refused() -> None:
    snapshot = example.snapshot()
    snapshot = snapshot.replace(example.user("ann", revision=2, enabled=False))
    assert snapshot.may("ann", "request", D, RO, now=NINE).code == "NO_RULE"


def test_may_before_everything_is_read_says_not_ready() -> None:
    snapshot = replace(example.snapshot(), complete=False)
    answer = snapshot.may("ann", "request", D, RO, now=NINE)
    assert (answer.allowed, answer.code) == (False, "NOT_READY")
    assert snapshot.who_may("request", D, RO, now=NINE) == frozenset()
    assert snapshot.longest("ann", "request", D, RO, now=NINE) is None


def test_decide_names_every_allowing_row_with_its_proving_subject() -> None:
    snapshot = example.snapshot()
    snapshot = snapshot.replace(example.scope("S9", "user:ann", f"acct:{D}", "*", 480))
    answer = snapshot.may("ann", "request", D, ADMIN, duration=timedelta(minutes=60), now=NINE)
    assert answer.rules == ("scope/S1", "scope/S9")
    assert answer.proof == (
        "scope/S1 allow group:dev request ou:dev psg:elevated",
        f"scope/S9 allow user:ann request acct:{D} *",
    )


@pytest.mark.parametrize("empty", ["subjects", "scopes", "sets"])
def test_decide_with_an_empty_set_matches_nothing(empty: str) -> None:
    engine = PolicyEngine().replace("scope/S1", [DEV])
    given = {"subjects": {"group:dev"}, "scopes": {"ou:dev"}, "sets": {"psg:elevated"}, empty: set()}
    ask = Ask(**given, verb="request", length=timedelta(0), now=NINE)
    assert engine.decide(ask).code == "NO_RULE"


@pytest.mark.parametrize("field", ["subjects", "scopes", "sets"])
def test_ask_with_a_string_for_a_set_is_refused(field: str) -> None:
    given = {"subjects": {"group:dev"}, "scopes": {"ou:dev"}, "sets": {"psg:elevated"}, field: "ou:dev"}
    with pytest.raises(TypeError, match=field):
        Ask(**given, verb="request", length=timedelta(0), now=NINE)  # type: ignore[arg-type]


def test_ask_for_everybody_or_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="everybody"):
        Ask({"*"}, "request", {"*"}, {"*"}, timedelta(0), NINE)
    with pytest.raises(TypeError, match="time zone"):
        Ask({"user:ann"}, "request", {"*"}, {"*"}, timedelta(0), NINE.replace(tzinfo=None))


def test_decide_on_an_empty_policy_allows_nothing() -> None:
    assert (
        PolicyEngine().decide(Ask({"user:ann"}, "request", {"*"}, {"*"}, timedelta(0), NINE)).code
        == "NO_RULE"
    )


def test_longest_is_the_most_any_allowing_row_gives_and_none_when_denied() -> None:
    snapshot = example.snapshot()
    assert snapshot.longest("ann", "request", D, ADMIN, now=NINE) == timedelta(minutes=480)
    assert snapshot.longest("ann", "request", P, ADMIN, now=NINE) == timedelta(minutes=60)
    assert snapshot.longest("eve", "request", P, RO, now=NINE) is None
    assert snapshot.longest("carl", "approve/A1/1", P, RO, now=NINE) == timedelta.max
    for minutes in (30, 600):
        wider = snapshot.replace(example.scope("more", "user:ann", f"acct:{D}", f"ps:{ADMIN}", minutes))
        assert wider.longest("ann", "request", D, ADMIN, now=NINE) == timedelta(minutes=max(480, minutes))


def _replacing_removes_the_old_rows(engine: PolicyEngine) -> bool:
    after = engine.replace("scope/S1", [DEV]).replace("scope/S1", [])
    return not after.decide(
        Ask({"group:dev"}, "request", {"ou:dev"}, {"psg:elevated"}, timedelta(0), NINE)
    ).allowed


def _refuses_star_subject(engine: PolicyEngine) -> bool:
    with contextlib.suppress(RowRefused):
        engine.replace("scope/S1", [replace(DEV, subject="*")])
        return False
    return True


def _refuses_strings(engine: PolicyEngine) -> bool:
    with contextlib.suppress(TypeError):
        engine.decide(Ask({"user:ann"}, "request", "ou:dev", {"*"}, timedelta(0), NINE))  # type: ignore[arg-type]
        return False
    return True


def _survives(engine: Callable[[], PolicyEngine]) -> bool:
    """Whether nothing in the table, nor the checks beside it, notices what is wrong with this engine."""
    try:
        snapshot = example.snapshot(engine())
        table = all(case.holds(snapshot) for case in TABLE)
    except AssertionError:
        return False
    beside = (_replacing_removes_the_old_rows, _refuses_star_subject, _refuses_strings)
    return table and all(check(engine()) for check in beside)


MATCHER_MUTANTS = {
    "no deny half in the effect": (" && !some(where (p.eft == deny))", ""),
    "deny bound by the length": (
        '(p.eft == "deny" || r.seconds <= num(p.max))',
        "r.seconds <= num(p.max)",
    ),
    "end inclusive": ("r.now < p.exp", "r.now <= p.exp"),
    "beginning exclusive": ("p.nbf <= r.now", "p.nbf < r.now"),
    "no length": (' && (p.eft == "deny" || r.seconds <= num(p.max))', ""),
    "length exclusive": ("r.seconds <= num", "r.seconds < num"),
    "no set": ("p.ps in r.ps && ", ""),
}


def test_the_engine_itself_survives_the_table() -> None:
    assert _survives(PolicyEngine)


@pytest.mark.parametrize("mutant", MATCHER_MUTANTS)
def test_a_wrong_matcher_is_noticed_by_the_table(mutant: str) -> None:
    right, wrong = MATCHER_MUTANTS[mutant]
    assert MODEL_TEXT.count(right) == 1, "the mutant no longer fits policy.conf: write it anew"
    assert not _survives(lambda: PolicyEngine(Matcher(MODEL_TEXT.replace(right, wrong))))


def test_an_engine_that_keeps_old_rows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_drop", lambda entries, _: entries)
    assert not _survives(PolicyEngine)


def test_an_engine_that_accepts_everybody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row, "SUBJECT", re.compile(".*"))
    assert not _survives(PolicyEngine)


def test_an_engine_that_accepts_strings_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ask, "__post_init__", lambda _: None)
    assert not _survives(PolicyEngine)
