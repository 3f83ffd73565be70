import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
from shared.foundation.errors import Bug
from shared.policy.engine import MODEL_TEXT, Policy
from shared.policy.row import ALWAYS, FOREVER, Ask, Row, RowRefused
from shared.policy.rows import role_rows, rule_rows, scope_rows
from shared.policy.world import World
from tests.support import policy_example as example
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
    policy = Policy()
    policy.replace("scope/S1", 1, [GOOD])
    with pytest.raises(RowRefused):
        policy.replace("scope/S1", 2, [GOOD, replace(GOOD, **{field: value})])
    assert policy.rows() == (GOOD,)
    assert policy.decide(ASK).allowed


def test_replace_with_a_stale_revision_changes_nothing() -> None:
    policy = Policy()
    assert policy.replace("scope/S1", 5, [GOOD])
    assert not policy.replace("scope/S1", 5, [])
    assert not policy.replace("scope/S1", 4, [])
    assert policy.decide(ASK).allowed
    assert policy.remove("scope/S1", 6)
    assert not policy.replace("scope/S1", 5, [GOOD]), "a replay after the removal must not bring it back"
    assert not policy.decide(ASK).allowed


def test_remove_leaves_an_equal_row_of_another_document() -> None:
    policy = Policy()
    policy.replace("scope/S1", 1, [GOOD])
    policy.replace("scope/S2", 1, [GOOD])
    policy.remove("scope/S1", 2)
    assert len(policy) == 1
    assert policy.decide(ASK).allowed
    policy.remove("scope/S2", 2)
    assert not policy._index
    assert not policy._subjects


def test_decide_from_a_second_thread_is_a_bug_and_no_answer() -> None:
    policy = Policy()
    policy.decide(ASK)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            policy.decide(ASK)
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
        Policy(MODEL_TEXT.replace(right, wrong))


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
        World({"owner": ("admins",)})


def test_apply_of_a_bad_document_keeps_the_old_one_and_says_why() -> None:
    world = example.world()
    bad = example.scope("S1", "*", "ou:dev", "psg:elevated", 480, revision=2)
    assert not world.apply(bad)
    assert "subject_star" in world.refused["scope/S1"]
    assert world.may("ann", "request", D, ADMIN, now=NINE).rules == ("scope/S1",)
    assert world.apply(example.scope("S1", "user:bob", "ou:dev", "psg:elevated", 480, revision=3))
    assert not world.refused
    assert world.may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


def test_apply_of_a_stale_document_changes_nothing() -> None:
    world = example.world()
    assert world.apply(example.scope("S1", "user:bob", "ou:dev", "*", 480, revision=7))
    assert not world.apply(example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=7))
    assert not world.apply(example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=6))
    assert world.may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


def _delete(world: World, kind: type[Document], document_id: str) -> None:
    document = world.get(kind, document_id)
    assert document is not None
    assert world.apply(document.model_copy(update={"deleted": True, "revision": document.revision + 1}))


@pytest.mark.parametrize(
    ("kind", "document_id", "gone"),
    [
        (Group, "dev", lambda world: not world.groups_of("ann")),
        (User, "ann", lambda world: world.user("ann") is None and not world.find_user("user_name", "ann")),
        (SetGroup, "elevated", lambda world: world.sets(ADMIN) == {f"ps:{ADMIN}", "*"}),
        (Account, D, lambda world: world.scopes(D) == {f"acct:{D}", "*"}),
        (AccessScope, "S1", lambda world: len(world.all(AccessScope)) == 6),
    ],
)
def test_apply_of_a_deletion_takes_its_rights_away(
    kind: type[Document], document_id: str, gone: Callable[[World], bool]
) -> None:
    world = example.world()
    assert world.may("ann", "request", D, ADMIN, now=NINE).allowed
    _delete(world, kind, document_id)
    assert gone(world)
    assert world.get(kind, document_id) is None
    assert document_id not in {document.id for document in world.all(kind)}
    assert world.may("ann", "request", D, ADMIN, now=NINE).code == "NO_RULE"


def test_the_sets_of_an_ask_hold_every_selector() -> None:
    world = example.world()
    assert world.subjects("bob") == {"user:bob", "group:dev", "group:managers"}
    assert world.subjects("root") == {"user:root", "group:admins", "role:admin"}
    assert world.scopes(P) == {f"acct:{P}", "ou:root", "ou:prod", "tag:env=prod", "*"}
    assert world.scopes(None) == world.sets(None) == {"*"}
    assert world.sets(ADMIN) == {f"ps:{ADMIN}", "psg:elevated", "*"}


def test_scopes_leave_out_a_tag_that_could_be_read_as_another() -> None:
    world = World()
    world.apply(example.account(P, "prod", tags={"a=b": "c", "a": "b=c"}))
    assert {scope for scope in world.scopes(P) if scope.startswith("tag:")} == {"tag:a=b=c"}
    world.apply(example.account(P, "prod", tags={"a=b": "c"}, revision=2))
    assert not {scope for scope in world.scopes(P) if scope.startswith("tag:")}


def test_who_may_subtracts_denied_and_disabled_people() -> None:
    world = example.world()
    length = timedelta(minutes=30)
    assert world.who_may("request", P, RO, duration=length, now=NINE) == {"ann", "bob"}
    assert world.who_may("request", D, ADMIN, duration=length, now=NINE) == {"ann", "bob", "eve"}
    assert world.who_may("approve/A1/1", P, ADMIN, now=NINE) == {"carl"}
    assert world.who_may("config.write", now=NINE) == {"root"}
    world.apply(example.user("ann", revision=2, enabled=False))
    assert world.who_may("request", P, RO, duration=length, now=NINE) == {"bob"}


def test_who_may_agrees_with_may_of_everybody() -> None:
    world = example.world()
    for case in example.TABLE:
        length = timedelta(minutes=case.minutes)
        may = {
            user.id
            for user in world.all(User)
            if world.may(user.id, case.verb, case.account, case.set, duration=length, now=case.now).allowed
        }
        found = world.who_may(case.verb, case.account, case.set, duration=length, now=case.now)
        assert found == may, str(case)


def test_find_user_compares_names_without_ascii_case_only() -> None:
    world = World()
    ids = (ExternalId(issuer="https://idp", id="E1"), ExternalId(issuer="https://idp", id="E1"))
    world.apply(User(id="u1", revision=1, user_name="Kim", email="Kim@x.io", external_ids=ids))
    assert [user.id for user in world.find_user("user_name", "kIM")] == ["u1"]
    assert [user.id for user in world.find_user("email", "KIM@X.IO")] == ["u1"]
    assert world.find_user("user_name", "\N{KELVIN SIGN}im") == []
    assert [user.id for user in world.find_user("external_id", "E1", issuer="https://idp")] == ["u1"]
    assert world.find_user("external_id", "e1", issuer="https://idp") == []
    assert world.find_user("external_id", "E1", issuer="https://other") == []
    world.apply(User(id="u1", revision=2, user_name="Jo"))
    assert world.find_user("user_name", "kim") == world.find_user("email", "kim@x.io") == []
    assert world.find_user("external_id", "E1", issuer="https://idp") == []


def test_revisions_follow_documents_and_markers_of_each_owner() -> None:
    world = example.world()
    assert world.revisions.model_dump() == {"catalog": 1, "rules": 1, "inventory": 1}
    world.apply(example.scope("S1", "group:dev", "ou:dev", "*", 480, revision=9))
    world.mark(Marker(owner="approval", revision=4, count=2, digest="", at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert world.revisions.model_dump() == {"catalog": 9, "rules": 4, "inventory": 1}
