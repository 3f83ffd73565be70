from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bench.policy import Stock, compare
from shared.policy.engine import PolicyEngine
from shared.policy.row import ALWAYS, FOREVER, Ask, Row
from tests.support.policy_example import NINE, TICK

VERBS = ("request", "approve/r1/1")
SUBJECTS = ("user:a", "group:g", "group:h", "role:admin")
SCOPES = ("acct:111111111111", "ou:root", "ou:prod", "tag:env=prod", "*")
SETS = ("ps:p", "ps:q", "psg:s", "*")
LENGTHS = (0.0, 59.9, 60.0, 60.1, 3600.0, float("inf"))
MOMENTS = (NINE - TICK, NINE, NINE + TICK)


def _rows(document: str) -> st.SearchStrategy[list[Row]]:
    row = st.builds(
        Row,
        verb=st.sampled_from(VERBS),
        subject=st.sampled_from(SUBJECTS),
        scope=st.sampled_from(SCOPES),
        set=st.sampled_from(SETS),
        max_seconds=st.sampled_from(LENGTHS),
        not_before=st.sampled_from((ALWAYS, ALWAYS, NINE)),
        expires=st.sampled_from((FOREVER, FOREVER, NINE + TICK)),
        effect=st.sampled_from(("allow", "allow", "allow", "deny")),
        rule=st.just(document),
    )
    return st.lists(row, max_size=8)


CHURN = st.lists(
    st.sampled_from([f"scope/s{number}" for number in range(6)]).flatmap(
        lambda document: st.tuples(st.just(document), _rows(document))
    ),
    min_size=1,
    max_size=15,
)
ASK = st.builds(
    Ask,
    subjects=st.frozensets(st.sampled_from(SUBJECTS), max_size=4) | st.just(frozenset(SUBJECTS)),
    verb=st.sampled_from(VERBS),
    scopes=st.frozensets(st.sampled_from(SCOPES), max_size=4) | st.just(frozenset(SCOPES)),
    sets=st.frozensets(st.sampled_from(SETS), max_size=4) | st.just(frozenset(SETS)),
    length=st.sampled_from([timedelta(seconds=seconds) for seconds in LENGTHS[:-1]]),
    now=st.sampled_from(MOMENTS),
)


@dataclass
class Seen:
    """How often each answer came out, so that the comparison is known to be of something."""

    counts: dict[str, int] = field(default_factory=dict)

    def note(self, code: str) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1


def test_decide_after_any_churn_answers_as_stock_casbin_does() -> None:
    seen = Seen()

    @given(CHURN, st.lists(ASK, min_size=5, max_size=15))
    def compare_all(churn: list[tuple[str, list[Row]]], asks: list[Ask]) -> None:
        engine = PolicyEngine()
        newest: dict[str, list[Row]] = {}
        for document, rows in churn:
            engine = engine.replace(document, rows)
            newest[document] = rows
        live = [row for rows in newest.values() for row in rows]
        assert sorted(engine.rows(), key=repr) == sorted(live, key=repr)
        # On no rows at all stock Casbin runs its matcher over empty texts: give it one that never matches.
        stock = Stock(
            [*live, Row("request", "user:none", "*", "*", 0.0, ALWAYS, FOREVER, "allow", "scope/none")]
        )
        for ask in asks:
            answer = engine.decide(ask)
            seen.note(answer.code)
            assert answer.allowed == stock.allows(ask), ask

    compare_all()
    assert seen.counts["ALLOW"] > 50, seen.counts
    assert seen.counts["EXPLICIT_DENY"] > 50, seen.counts
    assert seen.counts["NO_RULE"] > 50, seen.counts


def test_the_benchmark_compares_equal_answers() -> None:
    figures = compare(200, asks=50)
    assert 0 < int(figures["allowed"]) < 50
