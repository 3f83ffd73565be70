from dataclasses import replace
from datetime import timedelta

import pytest

from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.plan import Plan, make_plan
from shared.contracts.description import Description
from shared.contracts.documents import Account, ApprovalRule, Document, PermissionSet
from shared.contracts.windows import WindowAsked
from shared.foundation.clock import ManualClock
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support.harness import NOW, ready_tables
from tests.ticket.test_window import LIMITS

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def draft(
    world: Snapshot,
    who: str = "ann",
    *,
    targets: tuple[tuple[str, str], ...] = ((org.P, org.ADMIN),),
    beneficiaries: tuple[str, ...] = (),
    asked: WindowAsked | None = None,
    reason: str = "restart the payment workers",
) -> Draft:
    user = world.user(org.user_id(who))
    assert user is not None
    return Draft(
        requester=user,
        beneficiaries=beneficiaries,
        targets=tuple(TargetAsked(account, set_id) for account, set_id in targets),
        asked=asked or WindowAsked(duration=HOUR),
        reason=reason,
    )


def plan(world: Snapshot, made: Draft) -> Plan:
    return make_plan(made, world, now=NOW, limits=LIMITS)


def codes(made: Plan) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in made.problems]


def test_plan_of_an_allowed_request_names_rules_and_approvers(world: Snapshot) -> None:
    made = plan(world, draft(world))
    assert made.problems == ()
    (target,) = made.targets
    assert "scope/prod-admin" in target.allowed_by
    assert [stage.rule_id for stage in target.choice.stages] == ["prod", "prod"]
    assert target.approvers == (
        frozenset({org.user_id("carl"), org.user_id("cora")}),
        frozenset({org.user_id("dora")}),
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"targets": (("555555555555", org.ADMIN),)}, [("/targets/0/account", "account_not_registered")]),
        ({"targets": ((org.MANAGEMENT, org.ADMIN),)}, [("/targets/0/account", "account_not_registered")]),
        ({"targets": ((org.P, "ps-0000000000000000"),)}, [("/targets/0/set", "set_not_registered")]),
        ({"targets": ()}, [("/targets", "no_targets")]),
        ({"asked": WindowAsked(duration=HOUR + timedelta(seconds=1))}, [("/targets/0", "not_permitted")]),
        ({"beneficiaries": ("nobody",)}, [("/beneficiaries/0", "beneficiary_unknown")]),
        ({"who": "bob", "beneficiaries": ("ann", "gone")}, [("/beneficiaries/1", "beneficiary_disabled")]),
        ({"beneficiaries": ("ann", "gone")}, [("/beneficiaries/1", "beneficiary_unknown")]),
        ({"beneficiaries": ("bob",)}, [("/beneficiaries/0", "beneficiary_unknown")]),  # ann finds nobody
        ({"who": "bob", "beneficiaries": ("carl",)}, [("/targets/0", "not_permitted")]),  # carl has no right
        ({"who": "bob", "beneficiaries": ("ann", "bob")}, []),
        ({"who": "eve", "targets": ((org.P, org.READ),)}, [("/targets/0", "denied")]),
        ({"who": "root", "targets": ((org.P, org.READ),)}, [("/targets/0", "not_permitted")]),
        ({"reason": "short"}, [("/reason", "reason_too_short")]),
    ],
)
def test_plan_of_a_wrong_request_names_field_and_code(
    world: Snapshot, changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert codes(plan(world, draft(world, **changes))) == expected  # type: ignore[arg-type]


def changed(world: Snapshot, document: Document, **changes: object) -> Snapshot:
    return world.replace(document.model_copy(update=changes))


@pytest.mark.parametrize("change", [{"management": True}, {"delegated_administrator": True}, {}])
def test_plan_on_an_account_that_was_protected_after_it_was_registered(
    world: Snapshot, change: dict[str, object]
) -> None:
    account, registered = world.get(Account, org.P), world.registered_account(org.P)
    assert account is not None
    assert registered is not None
    world = changed(world, account, **change)
    listed = frozenset() if change else frozenset({org.P})
    limits = replace(LIMITS, protected=listed)
    made = make_plan(draft(world), world, now=NOW, limits=limits)
    assert codes(made) == [("/targets/0/account", "account_protected")]
    assert made.targets == ()
    world = changed(world, registered, protected_override=True)
    assert make_plan(draft(world), world, now=NOW, limits=limits).problems == ()


def test_plan_for_a_set_whose_sessions_were_made_longer_since(world: Snapshot) -> None:
    permission_set, registered = world.get(PermissionSet, org.ADMIN), world.registered_set(org.ADMIN)
    assert permission_set is not None
    assert registered is not None
    world = changed(world, permission_set, session_duration=HOUR + timedelta(seconds=1))
    assert codes(plan(world, draft(world))) == [("/targets/0/set", "long_session")]
    world = changed(world, registered, long_session_acknowledged=True)
    assert plan(world, draft(world)).problems == ()


def test_plan_with_several_problems_names_all_at_once(world: Snapshot) -> None:
    wrong = draft(
        world, targets=((org.P, org.ADMIN), ("555555555555", org.READ)), reason="no", beneficiaries=("x",)
    )
    assert {code for _, code in codes(plan(world, wrong))} == {
        "reason_too_short",
        "beneficiary_unknown",
        "account_not_registered",
    }


def test_plan_that_only_the_requester_could_approve_is_unapprovable(world: Snapshot) -> None:
    """Bob alone is in managers: nobody but bob could decide about the request on D."""
    assert codes(plan(world, draft(world, "bob", targets=((org.D, org.ADMIN),)))) == [
        ("/targets/0", "unapprovable")
    ]


def test_plan_without_an_approval_rule_is_refused(world: Snapshot) -> None:
    world = world.without(*org.rules())
    assert codes(plan(world, draft(world))) == [("/targets/0", "no_rule")]


def test_plan_without_end_or_duration_takes_the_default_capped_by_the_scope(world: Snapshot) -> None:
    assert plan(world, draft(world, asked=WindowAsked())).length == HOUR
    assert plan(world, draft(world, targets=((org.P, org.READ),), asked=WindowAsked())).length == 24 * HOUR


def test_plan_without_end_or_duration_is_capped_by_the_scope_of_every_beneficiary(world: Snapshot) -> None:
    """Carl may read for two hours, bob for a day."""
    world = world.replace(org.scope("carl", "owners-prod", "*", f"ps:{org.READ}", 2, revision=1000))
    for people in (("carl", "bob"), ("bob", "carl")):
        asked = draft(world, "bob", targets=((org.P, org.READ),), beneficiaries=people, asked=WindowAsked())
        assert (codes(plan(world, asked)), plan(world, asked).length) == ([], 2 * HOUR)


def crowd(world: Snapshot, size: int) -> tuple[Snapshot, tuple[str, ...]]:
    """With so many more people in dev, and their user names."""
    names = tuple(f"person-{number}" for number in range(size))
    world = world.replace(*(org.user(name) for name in names))
    dev = org.group_id("dev")
    grown = org.members(dev, *world.members_of(dev), *map(org.user_id, names))
    return world.replace(*grown), names


@pytest.mark.parametrize(
    ("size", "expected"), [(25, []), (26, [("/targets", "too_many_grants")])], ids=["50 grants", "52 grants"]
)
def test_plan_of_exactly_the_most_grants_passes_and_not_one_more_person(
    world: Snapshot, size: int, expected: list[tuple[str, str]]
) -> None:
    world, names = crowd(world, size)
    many = draft(world, "bob", targets=((org.P, org.READ), (org.S, org.READ)), beneficiaries=names)
    assert codes(plan(world, many)) == expected


@pytest.mark.parametrize(("size", "expected"), [(50, []), (51, [("/targets", "too_many_grants")])])
def test_plan_counts_grants_one_by_one(world: Snapshot, size: int, expected: list[tuple[str, str]]) -> None:
    world, names = crowd(world, size)
    many = draft(world, "bob", targets=((org.P, org.READ),), beneficiaries=names)
    assert codes(plan(world, many)) == expected


def test_plan_over_the_most_grants_is_refused_once_and_not_asked_right_by_right(world: Snapshot) -> None:
    """Eve is denied on P: asked, her right would be a second problem."""
    limits = replace(LIMITS, most_grants=3)
    many = draft(world, "bob", targets=((org.P, org.READ), (org.D, org.READ)), beneficiaries=("ann", "eve"))
    made = make_plan(many, world, now=NOW, limits=limits)
    assert codes(made) == [("/targets", "too_many_grants")]
    assert made.targets == ()


def test_plan_for_a_user_name_that_two_users_have_names_nobody(world: Snapshot) -> None:
    """Their ids still name each of them."""
    twin = org.user("ann").model_copy(update={"id": "user-ann-2", "external_ids": (), "revision": 1000})
    world = world.replace(twin)
    ambiguous = draft(world, "bob", beneficiaries=("ann",))
    assert codes(plan(world, ambiguous)) == [("/beneficiaries/0", "beneficiary_ambiguous")]
    by_id = draft(world, "bob", beneficiaries=(org.user_id("ann"),))
    assert codes(plan(world, by_id)) == []


def test_plan_expands_a_set_group_and_counts_the_same_pair_once(world: Snapshot) -> None:
    user = world.user(org.user_id("ann"))
    assert user is not None
    doubled = Draft(
        requester=user,
        beneficiaries=(),
        targets=(TargetAsked(org.P, set_group=org.ELEVATED), TargetAsked(org.P, org.ADMIN)),
        asked=WindowAsked(duration=HOUR),
        reason="restart the payment workers",
    )
    made = plan(world, doubled)
    assert [(one.permission_set.id, one.set_group) for one in made.targets] == [(org.ADMIN, org.ELEVATED)]


def wanting_reference(world: Snapshot, *rule_ids: str) -> Snapshot:
    for rule_id in rule_ids:
        rule = world.get(ApprovalRule, rule_id)
        assert rule is not None
        world = changed(world, rule, reference_required=True)
    return world


def test_plan_under_a_rule_that_wants_a_reference_names_the_rule_once(world: Snapshot) -> None:
    wanting = wanting_reference(world, "prod")
    made = plan(wanting, draft(wanting, targets=((org.P, org.ADMIN), (org.P, org.READ))))
    assert [problem for problem in codes(made) if problem[0] == "/reference"] == [
        ("/reference", "reference_required")
    ]
    assert "rule prod " in next(one.detail for one in made.problems if one.field == "/reference")
    given = replace(draft(wanting), description=Description(reference="CHG-4711"))
    assert plan(wanting, given).problems == ()
