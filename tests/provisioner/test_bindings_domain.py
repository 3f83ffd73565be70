"""Whom a subject is: every way that pairs may stand to each other, and what an administrator may do of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.domain.bindings import (
    QUIET_FOR,
    Against,
    FoundConflict,
    Held,
    Known,
    Named,
    Rebinding,
    Retired,
    Sighting,
    Unseen,
    bind,
    first_sight,
    note_conflict,
    rebind,
)
from shared.contracts.change import Change, Origin
from shared.contracts.documents import User, binding_id
from shared.contracts.event import Actor
from shared.contracts.identity import IdentityBound, IdentityConflictFound, IdentityRebound
from shared.foundation.errors import Conflict, Forbidden
from tests.support.bindings import ISSUER
from tests.support.harness import NOW

NAMED = Named("user_name", "ann", "https://scim")
SEEN = Sighting(ISSUER, "s", "ann", "ann", NAMED, "proof")
ANN = User(id="ann", user_name="ann")
ROOT = Actor(kind="person", name="root", user_id="root", iss=ISSUER, sub="s-root")
ORIGIN = Origin(ROOT, NOW, "request", "made anew in the directory")


@pytest.mark.parametrize(
    ("held", "outcome"),
    [
        ([], Unseen()),
        ([Held("s", "ann")], Known()),
        ([Held("s", "bob")], Against("bob", None)),
        ([Held("t", "ann")], Against(None, "t")),
        ([Held("s", "bob"), Held("t", "ann")], Against("bob", "t")),
        ([Held("s", "ann", killed=True)], Retired()),
        ([Held("s", "bob", killed=True)], Retired()),
        ([Held("s", "bob", killed=True), Held("t", "ann")], Retired()),
        ([Held("s", "ann", killed=True), Held("s", "bob")], Retired()),
        ([Held("s", "bob", killed=True), Held("s", "ann")], Known()),
        ([Held("s", "bob", killed=True), Held("s", "eve")], Against("eve", None)),
        ([Held("t", "ann", killed=True)], Unseen()),
        ([Held("t", "ann", killed=True), Held("u", "ann")], Against(None, "u")),
        ([Held("t", "ann", killed=True), Held("s", "ann")], Known()),
    ],
)
def test_first_sight_by_what_the_subject_and_the_user_have_or_had(held: list[Held], outcome: object) -> None:
    assert first_sight(SEEN, held) == outcome
    assert first_sight(SEEN, held[::-1]) == outcome


def test_bind_says_whom_and_is_not_quiet() -> None:
    change = bind(SEEN, ORIGIN)
    assert (change.state.id, change.state.bound_at) == (binding_id(ISSUER, "s"), NOW)
    assert change.state.quiet_until is None
    (fact,) = change.events
    assert isinstance(fact, IdentityBound)
    assert (fact.subject, fact.iss, fact.sub, fact.user_id) == ("ann", ISSUER, "s", "ann")


def test_note_conflict_says_what_stands_against_it_as_fact_and_alert() -> None:
    change = note_conflict(SEEN, Against("bob", "t"), "c-1", ORIGIN)
    (fact,), (alert,) = change.events, change.alerts
    assert isinstance(fact, IdentityConflictFound)
    assert (fact.conflict_id, fact.user_id, fact.bound_user_id, fact.bound_sub) == ("c-1", "ann", "bob", "t")
    assert alert.key == "identity-conflict/c-1"
    assert "this subject is user bob and this user is subject t" in alert.detail
    assert change.state.proof == "proof"


def conflict(bound_user_id: str | None = "bob", bound_sub: str | None = None, **more: Any) -> FoundConflict:
    found = note_conflict(SEEN, Against(bound_user_id, bound_sub), "c-1", ORIGIN).state
    return replace(found, **more)


def rebound(
    found: FoundConflict,
    held: list[Held],
    *,
    named: tuple[User, ...] = (ANN,),
    by: Actor = ROOT,
) -> Change[Rebinding]:
    return rebind(found, held, named, replace(ORIGIN, actor=by))


@pytest.mark.parametrize(
    ("against", "held"),
    [
        (("bob", None), [Held("s", "bob")]),
        ((None, "t"), [Held("t", "ann")]),
        (("bob", "t"), [Held("s", "bob"), Held("t", "ann")]),
        (("bob", None), [Held("s", "bob"), Held("s", "eve", killed=True)]),
    ],
)
def test_rebind_kills_all_that_stands_against_it(
    against: tuple[str | None, str | None], held: list[Held]
) -> None:
    change = rebound(conflict(*against), held)
    assert set(change.state.killed) == {one for one in held if not one.killed}
    binding = change.state.binding
    assert (binding.id, binding.user_id, binding.bound_at) == (binding_id(ISSUER, "s"), "ann", NOW)
    assert binding.quiet_until == NOW + timedelta(hours=24) == NOW + QUIET_FOR
    (fact,) = change.events
    assert isinstance(fact, IdentityRebound)
    assert (fact.actor, fact.why, fact.conflict_id) == (ROOT, ORIGIN.why, "c-1")
    assert (fact.bound_user_id, fact.bound_sub, fact.quiet_until) == (*against, binding.quiet_until)


@pytest.mark.parametrize(
    "by",
    [
        {"user_id": "ann"},
        {"user_id": "bob"},
        {"sub": "s"},
        {"sub": "t"},
    ],
)
def test_rebind_by_whom_it_is_about_is_refused_on_either_side(by: dict[str, str]) -> None:
    found, held = conflict("bob", "t"), [Held("s", "bob"), Held("t", "ann")]
    with pytest.raises(Forbidden) as raised:
        rebound(found, held, by=ROOT.model_copy(update=by))
    assert raised.value.code == "own_binding"
    assert raised.value.denied is not None


def test_rebind_by_the_same_subject_of_another_issuer_is_somebody_elses() -> None:
    other = ROOT.model_copy(update={"sub": "s", "iss": "https://other"})
    assert rebound(conflict(), [Held("s", "bob")], by=other).state.killed


@pytest.mark.parametrize(
    ("change", "held", "named", "why"),
    [
        ({"settled_at": NOW}, [Held("s", "bob")], (ANN,), "settled"),
        ({}, [Held("s", "bob")], (), "does not name"),
        ({}, [Held("s", "bob")], (ANN, User(id="eve", user_name="ann")), "does not name"),
        ({}, [Held("s", "bob")], (User(id="eve", user_name="ann"),), "does not name"),
        ({}, [Held("s", "bob")], (ANN.model_copy(update={"enabled": False}),), "does not name"),
        ({}, [], (ANN,), "otherwise"),
        ({}, [Held("s", "ann")], (ANN,), "otherwise"),
        ({}, [Held("s", "eve")], (ANN,), "otherwise"),
        ({}, [Held("s", "bob"), Held("t", "ann")], (ANN,), "otherwise"),
        ({}, [Held("s", "bob", killed=True)], (ANN,), "otherwise"),
        ({}, [Held("s", "bob"), Held("s", "ann", killed=True)], (ANN,), "otherwise"),
    ],
    ids=["settled", "gone", "two", "another", "disabled", "free", "bound", "eve", "more", "killed", "pair"],
)
def test_rebind_where_the_world_has_changed_is_refused(
    change: dict[str, Any], held: list[Held], named: tuple[User, ...], why: str
) -> None:
    with pytest.raises(Conflict) as raised:
        rebound(conflict(**change), held, named=named)
    assert raised.value.code == "conflict_stale"
    assert why in raised.value.detail
