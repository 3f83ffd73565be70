import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.documents import (
    AccessScope,
    Account,
    Document,
    ExternalId,
    Group,
    Marker,
    SetGroup,
    User,
)
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Bug
from shared.policy.engine import MODEL_TEXT, Matcher, PolicyEngine
from shared.policy.policy import Policy
from shared.policy.row import ALWAYS, FOREVER, Ask, Row, RowRefused
from shared.policy.rows import role_rows, rule_rows, scope_rows
from shared.policy.shape import scope_errors
from shared.policy.snapshot import Snapshot
from shared.policy.tags import tag_problem, tag_selector
from tests.support import policy_example as example
from tests.support.harness import mark
from tests.support.policy_example import ADMIN, NINE, RO, D, P

GOOD = Row("request", "group:dev", "ou:dev", "psg:elevated", 60.0, ALWAYS, FOREVER, "allow", "scope/S1")
ASK = Ask({"group:dev"}, "request", {"ou:dev"}, {"psg:elevated"}, timedelta(0), NINE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "*"),
        ("subject", "group:dev,x"),
        ("subject", "group:dev x"),
        ("subject", "group:dev\n"),
        ("subject", "svc:slack"),
        ("subject", "dev"),
        ("verb", "request_all"),
        ("verb", "*"),
        ("verb", "approve"),
        ("verb", "approve/r1/0"),
        ("verb", "approve/r1/1/2"),
        ("scope", "acct:12345678901"),
        ("scope", "acct:*"),
        ("scope", "ou:"),
        ("scope", "tag:env"),
        ("scope", "tag:env=a,b"),
        ("scope", ""),
        ("set", "elevated"),
        ("set", "ps:*"),
        ("max_seconds", -1.0),
        ("max_seconds", "3600"),
        ("max_seconds", float("nan")),
        ("max_seconds", True),
        ("not_before", "2026-03-02"),
        ("not_before", datetime(2026, 3, 2)),  # noqa: DTZ001 (the missing zone is the point)
        ("expires", ALWAYS),
        ("effect", "Allow"),
        ("rule", "S1"),
    ],
)
def test_replace_with_a_malformed_row_is_refused_and_keeps_the_old_rows(field: str, value: Any) -> None:
    engine = PolicyEngine().replace("scope/S1", [GOOD])
    with pytest.raises(RowRefused):
        engine.replace("scope/S1", [GOOD, replace(GOOD, **{field: value})])
    assert engine.rows() == (GOOD,)
    assert engine.decide(ASK).allowed


def test_replace_with_no_rows_leaves_an_equal_row_of_another_document() -> None:
    both = PolicyEngine().replace("scope/S1", [GOOD]).replace("scope/S2", [GOOD])
    one = both.replace("scope/S1", [])
    assert one.rows() == (GOOD,)
    assert one.decide(ASK).allowed
    none = one.replace("scope/S2", [])
    assert not none.decide(ASK).allowed
    assert not none._entries
    assert not none._subjects


def test_replace_leaves_the_engine_it_came_from_as_it_was() -> None:
    before = PolicyEngine().replace("scope/S1", [GOOD])
    after = before.replace("scope/S2", [replace(GOOD, effect="deny")]).replace("scope/S1", [])
    assert before.decide(ASK).code == "ALLOW"
    assert after.decide(ASK).code == "EXPLICIT_DENY"
    assert before.rows() == (GOOD,)


def test_decide_from_a_second_thread_is_a_bug_and_no_answer() -> None:
    engine = PolicyEngine()
    engine.decide(ASK)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            engine.replace("scope/S1", [GOOD]).decide(ASK)
        except Bug as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(raised) == 1


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("p = act, sub", "p = sub, act"),
        ("r = sub, act", "r = act, sub"),
        ("[matchers]", "[matchers]\nm2 = p.act in r.act"),
        ("[policy_effect]", "[role_definition]\ng = _, _\n\n[policy_effect]"),
        ("p.ps in r.ps", "!(p.ps in r.ps)"),
    ],
)
def test_policy_of_another_model_is_refused_at_start(right: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"policy\.conf"):
        Matcher(MODEL_TEXT.replace(right, wrong))


def test_scope_rows_are_one_per_subject_and_verb() -> None:
    scope = example.scope("s", "group:dev", "ou:dev", "*", 30, verbs=("request", "request_for"))
    rows = scope_rows(scope.model_copy(update={"subjects": ("group:dev", "user:ann", "group:dev")}))
    assert {(row.verb, row.subject) for row in rows} == {
        (verb, subject) for verb in ("request", "request_for") for subject in ("group:dev", "user:ann")
    }
    assert len(rows) == 4
    assert {row.max_seconds for row in rows} == {1800.0}


def test_rule_rows_give_votes_terminate_and_read_without_limit() -> None:
    rule = example.rule("r", "ou:prod", "*", "group:owners", "user:ann")
    rows = rule_rows(rule.model_copy(update={"stages": rule.stages * 2}))
    verbs = {row.verb for row in rows if row.subject == "user:ann"}
    assert verbs == {"approve/r/1", "approve/r/2", "terminate", "ticket.read"}
    assert {row.max_seconds for row in rows} == {float("inf")}
    assert len(rows) == 8


def test_role_rows_never_request_or_approve() -> None:
    for role in ("admin", "auditor"):
        verbs = {row.verb for row in role_rows(role)}
        assert not {verb for verb in verbs if verb.startswith(("request", "approve"))}
    with pytest.raises(ValueError, match="auditor"):
        Snapshot.of({"owner": ("admins",)})


def policy() -> Policy:
    """The worked example as its owners published it."""
    filled = Policy(example.ROLES, clock=ManualClock(NINE), stale_after=timedelta(minutes=1))
    owned: dict[str, list[Document]] = {"ticket": [], "approval": [], "provisioner": []}
    for document in example.documents():
        owned[document.OWNER].append(document)
        filled.take(document.OWNER, document)
    for owner, documents in owned.items():
        mark(filled, owner, documents, at=NINE)
    return filled


def test_take_of_a_bad_document_keeps_the_old_one_and_says_why() -> None:
    filled = policy()
    filled.take("ticket", example.scope("S1", "*", "ou:dev", "psg:elevated", 480, revision=2))
    assert "subject_star" in filled.refused["scope/S1"]
    assert filled.snapshot().may("ann", "request", D, ADMIN, now=NINE).rules == ("scope/S1",)
    filled.take("ticket", example.scope("S1", "user:bob", "ou:dev", "psg:elevated", 480, revision=3))
    assert not filled.refused
    assert filled.snapshot().may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


@pytest.mark.parametrize("revision", [6, 7])
def test_take_of_a_stale_document_changes_nothing(revision: int) -> None:
    filled = policy()
    filled.take("ticket", example.scope("S1", "user:bob", "ou:dev", "*", 480, revision=7))
    filled.take("ticket", example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=revision))
    assert filled.snapshot().may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


def test_take_of_a_replay_does_not_bring_back_what_was_removed() -> None:
    filled, scope = policy(), example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=5)
    filled.take("ticket", scope)
    filled.take("ticket", scope.model_copy(update={"deleted": True, "revision": 6}))
    filled.take("ticket", scope)
    assert filled.snapshot().get(AccessScope, "S1") is None
    assert filled.snapshot().may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


@pytest.mark.parametrize(
    ("kind", "document_id", "gone"),
    [
        (Group, "dev", lambda snapshot: not snapshot.groups_of("ann")),
        (User, "ann", lambda snapshot: not (snapshot.user("ann") or snapshot.find_user("user_name", "ann"))),
        (SetGroup, "elevated", lambda snapshot: snapshot.sets(ADMIN) == {f"ps:{ADMIN}", "*"}),
        (Account, D, lambda snapshot: snapshot.scopes(D) == {f"acct:{D}", "*"}),
        (AccessScope, "S1", lambda snapshot: len(snapshot.all(AccessScope)) == 6),
    ],
)
def test_without_a_document_its_rights_are_gone(
    kind: type[Document], document_id: str, gone: Callable[[Snapshot], bool]
) -> None:
    snapshot = example.snapshot()
    assert snapshot.may("ann", "request", D, ADMIN, now=NINE).allowed
    document = snapshot.get(kind, document_id)
    assert document is not None
    snapshot = snapshot.without(document)
    assert gone(snapshot)
    assert snapshot.get(kind, document_id) is None
    assert document_id not in {document.id for document in snapshot.all(kind)}
    assert snapshot.may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


def test_the_sets_of_an_ask_hold_every_selector() -> None:
    snapshot = example.snapshot()
    assert snapshot.subjects("bob") == {"user:bob", "group:dev", "group:managers"}
    assert snapshot.subjects("root") == {"user:root", "group:admins", "role:admin"}
    assert snapshot.scopes(P) == {f"acct:{P}", "ou:root", "ou:prod", "tag:env=prod", "*"}
    assert snapshot.scopes(None) == snapshot.sets(None) == {"*"}
    assert snapshot.sets(ADMIN) == {f"ps:{ADMIN}", "psg:elevated", "*"}


def test_scopes_hold_every_tag_in_a_spelling_of_its_own() -> None:
    tags = {"a=b": "c", "a": "b=c", "100%": "", "größe": "sehr groß ", "a%3Db": "c"}
    snapshot = Snapshot.of(documents=[example.account(P, "prod", tags=tags)])
    assert {scope for scope in snapshot.scopes(P) if scope.startswith("tag:")} == {
        "tag:a%3Db=c",
        "tag:a=b%3Dc",
        "tag:100%25=",
        "tag:größe=sehr groß%20",
        "tag:a%253Db=c",
    }


TAG = st.tuples(st.text("ab=% ,é", min_size=1, max_size=4), st.text("ab=% ,é", max_size=4))


@given(TAG, TAG)
def test_tag_selectors_can_be_written_and_name_one_tag_only(
    tag: tuple[str, str], other: tuple[str, str]
) -> None:
    selector = tag_selector(*tag)
    assert tag_problem(selector) is None
    assert Snapshot.of(documents=[example.scope("s", "user:ann", selector, "*", 60, effect="deny")]).rows()
    assert (selector == tag_selector(*other)) == (tag == other)


@pytest.mark.parametrize(
    ("written", "proper"),
    [
        ("tag:a=b=c=d", "tag:a=b%3Dc%3Dd"),
        ("tag:a=b c ", "tag:a=b c%20"),
        ("tag:a%=b", "tag:a%25=b"),
        ("tag:%61=b", "tag:a=b"),
        ("tag:a=b,c", "tag:a=b%2Cc"),
        ("tag:a", "tag:<key>=<value>"),
        ("tag:=b", "tag:<key>=<value>"),
    ],
)
def test_a_tag_in_another_spelling_is_refused_and_told_how_to_write_it(written: str, proper: str) -> None:
    (error,) = scope_errors(example.scope("s", "user:ann", written, "*", 60, effect="deny"))
    assert (error.field, error.code) == ("/accounts", "tag_malformed")
    assert proper in error.detail


def test_a_deny_on_a_tag_whose_key_holds_an_equals_sign_denies() -> None:
    marked = example.account(D, "dev", tags={"cost=center": "4=2"})
    deny = example.scope("D3", "group:dev", tag_selector("cost=center", "4=2"), "*", 0, effect="deny")
    snapshot = example.snapshot().replace(marked, deny)
    assert snapshot.may("ann", "request", D, ADMIN, now=NINE).rules == ("scope/D3",)


def test_who_may_subtracts_denied_and_disabled_people() -> None:
    snapshot = example.snapshot()
    length = timedelta(minutes=30)
    assert snapshot.who_may("request", P, RO, duration=length, now=NINE) == {"ann", "bob"}
    assert snapshot.who_may("request", D, ADMIN, duration=length, now=NINE) == {"ann", "bob", "eve"}
    assert snapshot.who_may("approve/A1/1", P, ADMIN, now=NINE) == {"carl"}
    assert snapshot.who_may("config.write", now=NINE) == {"root"}
    snapshot = snapshot.replace(example.user("ann", revision=2, enabled=False))
    assert snapshot.who_may("request", P, RO, duration=length, now=NINE) == {"bob"}


def test_who_may_agrees_with_may_of_everybody() -> None:
    snapshot = example.snapshot()
    for case in example.TABLE:
        length = timedelta(minutes=case.minutes)
        may = {
            user.id
            for user in snapshot.all(User)
            if snapshot.may(user.id, case.verb, case.account, case.set, duration=length, now=case.now).allowed
        }
        found = snapshot.who_may(case.verb, case.account, case.set, duration=length, now=case.now)
        assert found == may, str(case)


def test_find_user_compares_names_without_ascii_case_only() -> None:
    ids = (ExternalId(issuer="https://idp", id="E1"), ExternalId(issuer="https://idp", id="E1"))
    kim = User(id="u1", revision=1, user_name="Kim", email="Kim@x.io", external_ids=ids)
    snapshot = Snapshot.of(documents=[kim])
    assert [user.id for user in snapshot.find_user("user_name", "kIM")] == ["u1"]
    assert [user.id for user in snapshot.find_user("email", "KIM@X.IO")] == ["u1"]
    assert snapshot.find_user("user_name", "\N{KELVIN SIGN}im") == []
    assert [user.id for user in snapshot.find_user("external_id", "E1", issuer="https://idp")] == ["u1"]
    assert snapshot.find_user("external_id", "e1", issuer="https://idp") == []
    assert snapshot.find_user("external_id", "E1", issuer="https://other") == []
    snapshot = snapshot.replace(User(id="u1", revision=2, user_name="Jo"))
    assert snapshot.find_user("user_name", "kim") == snapshot.find_user("email", "kim@x.io") == []
    assert snapshot.find_user("external_id", "E1", issuer="https://idp") == []


def test_revisions_follow_documents_and_markers_of_each_owner() -> None:
    snapshot = example.snapshot()
    assert snapshot.revisions.model_dump() == {"catalog": 1, "rules": 1, "inventory": 1}
    snapshot = snapshot.replace(example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=9))
    snapshot = snapshot.counted(Marker(owner="approval", revision=4, count=2, digest="", at=NINE))
    assert snapshot.revisions.model_dump() == {"catalog": 9, "rules": 4, "inventory": 1}
