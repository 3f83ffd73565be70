from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ticket.domain import life
from services.ticket.domain.plan import Draft, Plan, TargetAsked, make_plan
from shared.contracts import access
from shared.contracts.documents import Account, Document, PermissionSet
from shared.contracts.event import Actor, Revisions
from shared.contracts.ticket import GrantState, TargetState, Ticket, TicketState, Window, WindowAsked
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Conflict
from shared.policy.world import World
from tests.support import organisation as org
from tests.support.harness import NOW, ready_tables
from tests.ticket.test_window import LIMITS

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return ready_tables(ManualClock(NOW)).world


def draft(
    world: World,
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


def plan(world: World, made: Draft) -> Plan:
    return make_plan(made, world, now=NOW, limits=LIMITS)


def codes(made: Plan) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in made.problems]


def test_plan_of_an_allowed_request_names_rules_and_approvers(world: World) -> None:
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
        ({"beneficiaries": ("ann", "gone")}, [("/beneficiaries/1", "beneficiary_disabled")]),
        ({"beneficiaries": ("bob",)}, [("/targets/0", "not_permitted")]),  # ann may not order for others
        ({"who": "bob", "beneficiaries": ("carl",)}, [("/targets/0", "not_permitted")]),  # carl has no right
        ({"who": "bob", "beneficiaries": ("ann", "bob")}, []),
        ({"who": "eve", "targets": ((org.P, org.READ),)}, [("/targets/0", "denied")]),
        ({"who": "root", "targets": ((org.P, org.READ),)}, [("/targets/0", "not_permitted")]),
        ({"reason": "short"}, [("/reason", "reason_too_short")]),
    ],
)
def test_plan_of_a_wrong_request_names_field_and_code(
    world: World, changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert codes(plan(world, draft(world, **changes))) == expected  # type: ignore[arg-type]


def apply(world: World, document: Document, **changes: object) -> None:
    newer = {"revision": document.revision + 1000, **changes}
    assert world.apply(document.model_copy(update=newer))


@pytest.mark.parametrize("change", [{"management": True}, {"delegated_administrator": True}, {}])
def test_plan_on_an_account_that_was_protected_after_it_was_registered(
    world: World, change: dict[str, object]
) -> None:
    account, registered = world.get(Account, org.P), world.registered_account(org.P)
    assert account is not None
    assert registered is not None
    apply(world, account, **change)
    listed = frozenset() if change else frozenset({org.P})
    limits = replace(LIMITS, protected=listed)
    made = make_plan(draft(world), world, now=NOW, limits=limits)
    assert codes(made) == [("/targets/0/account", "account_protected")]
    assert made.targets == ()
    apply(world, registered, protected_override=True)
    assert make_plan(draft(world), world, now=NOW, limits=limits).problems == ()


def test_plan_for_a_set_whose_sessions_were_made_longer_since(world: World) -> None:
    permission_set, registered = world.get(PermissionSet, org.ADMIN), world.registered_set(org.ADMIN)
    assert permission_set is not None
    assert registered is not None
    apply(world, permission_set, session_duration=HOUR + timedelta(seconds=1))
    assert codes(plan(world, draft(world))) == [("/targets/0/set", "long_session")]
    apply(world, registered, long_session_acknowledged=True)
    assert plan(world, draft(world)).problems == ()


def test_plan_with_several_problems_names_all_at_once(world: World) -> None:
    wrong = draft(
        world, targets=((org.P, org.ADMIN), ("555555555555", org.READ)), reason="no", beneficiaries=("x",)
    )
    assert {code for _, code in codes(plan(world, wrong))} == {
        "reason_too_short",
        "beneficiary_unknown",
        "account_not_registered",
    }


def test_plan_that_only_the_requester_could_approve_is_unapprovable(world: World) -> None:
    """Bob alone is in managers: nobody but himself could decide about his own request on D."""
    assert codes(plan(world, draft(world, "bob", targets=((org.D, org.ADMIN),)))) == [
        ("/targets/0", "unapprovable")
    ]


def test_plan_without_an_approval_rule_is_refused(world: World) -> None:
    rules = {
        rule.id: rule.model_copy(update={"deleted": True, "revision": rule.revision + 100})
        for rule in org.numbered(org.rules())
    }
    for rule in rules.values():
        world.apply(rule)
    assert codes(plan(world, draft(world))) == [("/targets/0", "no_rule")]


def test_plan_without_end_or_duration_takes_the_default_capped_by_the_scope(world: World) -> None:
    assert plan(world, draft(world, asked=WindowAsked())).length == HOUR
    assert plan(world, draft(world, targets=((org.P, org.READ),), asked=WindowAsked())).length == 24 * HOUR


def test_plan_over_the_most_grants_is_refused_once(world: World) -> None:
    limits = life.Limits(**{**LIMITS.__dict__, "most_grants": 3})
    many = draft(world, "bob", targets=((org.P, org.READ), (org.D, org.READ)), beneficiaries=("ann", "bob"))
    made = make_plan(many, world, now=NOW, limits=limits)
    assert codes(made) == [("/targets", "too_many_grants")]


def test_plan_expands_a_set_group_and_counts_the_same_pair_once(world: World) -> None:
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


# a ticket's life


def ticket(world: World, **changes: object) -> Ticket:
    made = plan(
        world, draft(world, "bob", beneficiaries=("ann", "bob"), targets=((org.P, org.ADMIN),), **changes)
    )  # type: ignore[arg-type]
    assert made.problems == ()
    ids = life.Ids("t", ("target",), ("grant-ann", "grant-bob"))
    return life.submit(made, ids=ids, instance="default", revisions=Revisions(), now=NOW, limits=LIMITS)


def approved(world: World) -> Ticket:
    window = Window(starts_at=NOW, ends_at=NOW + HOUR)
    return life.next_version(life.approve(ticket(world), "target", window=window, at=NOW))


def fact(cls: type[access.AccessFact], grant_id: str, **more: object) -> access.AccessFact:
    return cls(
        subject="t",
        actor=Actor.service("provisioner"),
        at=NOW,
        ticket_id="t",
        grant_id=grant_id,
        target_id="target",
        instance="default",
        user_id="u",
        account_id=org.P,
        set_id=org.ADMIN,
        ends_at=NOW + HOUR,
        **more,  # type: ignore[arg-type]
    )


GRANTED = {"credentials_until": NOW + 2 * HOUR}
ENDED = {"cause_of_end": "expired"}


def after(ticket: Ticket, *facts: access.AccessFact) -> Ticket:
    for one in facts:
        changed = life.apply_access(ticket, one)
        ticket = life.next_version(changed) if changed else ticket
    return ticket


def test_submit_makes_a_grant_for_each_person_and_target(world: World) -> None:
    born = ticket(world)
    assert [(grant.id, grant.beneficiary, grant.state) for grant in born.grants] == [
        ("grant-ann", org.user_id("ann"), None),
        ("grant-bob", org.user_id("bob"), None),
    ]
    assert (born.version, born.state) == (1, TicketState.PENDING)


def test_approve_schedules_the_grants_of_the_target(world: World) -> None:
    done = approved(world)
    assert done.state is TicketState.SCHEDULED
    assert {grant.state for grant in done.grants} == {GrantState.SCHEDULED}
    assert not life.is_open(done, "target", 1)


def test_is_open_for_another_revision_is_false(world: World) -> None:
    assert life.is_open(ticket(world), "target", 1)
    assert not life.is_open(ticket(world), "target", 2)
    assert not life.is_open(ticket(world), "unknown", 1)


def test_access_facts_in_order_lead_to_ended_and_then_closed(world: World) -> None:
    done = approved(world)
    for grant in ("grant-ann", "grant-bob"):
        done = after(done, fact(access.AccessGranted, grant, **GRANTED))
    assert done.state is TicketState.ACTIVE
    assert done.credentials_until == NOW + 2 * HOUR
    assert life.closes_at(done) is None
    for grant in ("grant-ann", "grant-bob"):
        done = after(done, fact(access.AccessRevoked, grant, **ENDED, **GRANTED))
    assert done.state is TicketState.ENDED
    assert life.closes_at(done) == NOW + 2 * HOUR
    closed = life.next_version(life.close(done, at=NOW + 2 * HOUR))
    assert closed.state is TicketState.CLOSED
    assert life.closes_at(closed) is None


@pytest.mark.parametrize(
    ("codes", "shown"),
    [
        (("aws_denied", "aws_denied"), TicketState.FAILED),
        (("withdrawn", "withdrawn"), TicketState.WITHDRAWN),
        (("terminated", "returned"), TicketState.ENDED),
        (("withdrawn", "no_witness"), TicketState.FAILED),
        (("expired", "expired"), TicketState.FAILED),
    ],
)
def test_state_of_grants_that_never_came_says_whether_somebody_stopped_them(
    world: World, codes: tuple[str, str], shown: TicketState
) -> None:
    facts = [
        fact(access.AccessFailed, grant, code=code)
        for grant, code in zip(("grant-ann", "grant-bob"), codes, strict=True)
    ]
    assert after(approved(world), *facts).state is shown


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("withdrawn", TicketState.WITHDRAWN),
        ("terminated", TicketState.ENDED),
        ("returned", TicketState.ENDED),
        ("revoked_by_operator", TicketState.ENDED),
        ("expired", TicketState.FAILED),
    ],
)
def test_grant_that_ended_before_it_was_given_has_failed_by_the_cause_of_its_end(
    world: World, code: str, shown: TicketState
) -> None:
    one = approved(world)
    for grant in ("grant-ann", "grant-bob"):
        one = after(
            one,
            fact(access.AccessGranting, grant),
            fact(access.AccessRevokeDue, grant, cause_of_end=code),
            fact(access.AccessFailed, grant, code=code, kept_by=("other",)),
        )
    assert (one.state, one.credentials_until) == (shown, None)
    assert {(grant.state, grant.code, grant.kept_by) for grant in one.grants} == {
        (GrantState.FAILED, code, ("other",))
    }
    assert life.closes_at(one) == NOW


def test_grant_that_appeared_after_its_end_keeps_the_ticket_from_closing_while_credentials_live(
    world: World,
) -> None:
    late = {"code": "terminated", "credentials_until": NOW + HOUR}
    facts = [fact(access.AccessFailed, grant, **late) for grant in ("grant-ann", "grant-bob")]
    one = after(approved(world), *facts)
    assert (one.credentials_until, life.closes_at(one)) == (NOW + HOUR, NOW + HOUR)


def test_access_fact_that_is_older_or_repeated_changes_nothing(world: World) -> None:
    done = after(approved(world), fact(access.AccessRevoked, "grant-ann", **ENDED))
    assert life.apply_access(done, fact(access.AccessGranted, "grant-ann", **GRANTED)) is None
    assert life.apply_access(done, fact(access.AccessRevoked, "grant-ann", **ENDED)) is None
    assert life.apply_access(done, fact(access.AccessGranted, "unknown", **GRANTED)) is None


def test_stop_of_live_grants_is_not_undone_by_a_late_granted(world: World) -> None:
    done = life.next_version(life.stop(approved(world), ["grant-ann"], code="terminated"))
    assert life.grant_of(done, "grant-ann").state is GrantState.REVOKING  # type: ignore[union-attr]
    assert life.apply_access(done, fact(access.AccessGranted, "grant-ann", **GRANTED)) is None


def test_withdrawable_after_granting_is_a_conflict(world: World) -> None:
    assert life.withdrawable(ticket(world)) == (["target"], [])
    assert life.withdrawable(approved(world)) == ([], ["grant-ann", "grant-bob"])
    done = after(approved(world), *(fact(access.AccessGranting, g) for g in ("grant-ann", "grant-bob")))
    with pytest.raises(Conflict, match="nothing of this ticket can be withdrawn"):
        life.withdrawable(done)


def test_returnable_is_only_ones_own(world: World) -> None:
    assert life.returnable(approved(world), org.user_id("ann")) == ["grant-ann"]
    with pytest.raises(Conflict, match="no access from this ticket to return"):
        life.returnable(approved(world), org.user_id("carl"))


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (TargetState.REJECTED, TicketState.REJECTED),
        (TargetState.TIMED_OUT, TicketState.TIMED_OUT),
        (TargetState.WITHDRAWN, TicketState.WITHDRAWN),
    ],
)
def test_settle_of_all_targets_shows_in_the_ticket(
    world: World, state: TargetState, shown: TicketState
) -> None:
    done = life.next_version(life.settle(ticket(world), ["target"], state, at=NOW))
    assert done.state is shown
    assert life.closes_at(done) == NOW


def test_time_out_is_due_at_the_moment_and_not_before(world: World) -> None:
    pending = ticket(world)
    assert life.due_for_time_out(pending, pending.expires_at - timedelta(microseconds=1)) == []
    assert life.due_for_time_out(pending, pending.expires_at) == ["target"]


FACTS = [
    fact(access.AccessScheduled, "grant-ann", starts_at=NOW),
    fact(access.AccessGranting, "grant-ann"),
    fact(access.AccessGranted, "grant-ann", **GRANTED),
    fact(access.AccessRevokeDue, "grant-ann", **ENDED),
    fact(access.AccessRevoked, "grant-ann", **ENDED),
    fact(access.AccessReleased, "grant-ann", kept_by=("x",), **ENDED),
    fact(access.AccessFailed, "grant-ann", code="aws"),
]


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_access_facts_in_any_order_only_move_a_grant_forward(facts: list[access.AccessFact]) -> None:
    done = approved(ready_tables(ManualClock(NOW)).world)
    reached = life.ORDER[GrantState.SCHEDULED]
    for one in facts:
        done = after(done, one)
        state = life.grant_of(done, "grant-ann").state  # type: ignore[union-attr]
        assert life.ORDER[state] >= reached
        reached = life.ORDER[state]
