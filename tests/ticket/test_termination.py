from datetime import timedelta

import pytest

from services.ticket.domain import termination
from services.ticket.domain.termination import Ending, RemainingGrant, Selection, find_stops, outcome, select
from shared.contracts.access import AccessGranted
from shared.contracts.ticket import GrantState, Target, TargetState, Ticket
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Conflict, Forbidden, Invalid
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support.harness import NOW, ready_tables
from tests.ticket.test_domain import ANN, BOB, ORIGIN, after, approved, event_of, fact, state_of, ticket

CREDENTIALS = NOW + timedelta(hours=2)


@pytest.fixture
def world() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def with_second_target(one: Ticket) -> Ticket:
    """The same ticket with a pending target on D besides."""
    second = Target.model_validate(
        one.targets[0].model_dump()
        | {"id": "second", "account_id": org.D, "state": TargetState.PENDING, "window": None}
    )
    return one.model_copy(update={"targets": (*one.targets, second)})


def test_select_of_nothing_named_is_all_one_may_end(world: Snapshot) -> None:
    two = with_second_target(ticket(world))
    assert select(two, [], {"second"}) == Selection(frozenset({"second"}), named=False)
    assert select(two, ["second"], {"second", "t-target"}) == Selection(frozenset({"second"}), named=True)


@pytest.mark.parametrize(
    ("named", "may_end"),
    [([], set()), (["second"], {"t-target"}), (["t-target", "second"], {"t-target"})],
    ids=["nothing is theirs", "another's", "one of two is another's"],
)
def test_select_of_what_one_may_not_end_refuses_the_whole(
    world: Snapshot, named: list[str], may_end: set[str]
) -> None:
    with pytest.raises(Forbidden):
        select(with_second_target(ticket(world)), named, may_end)


def test_select_of_an_unknown_target_is_invalid(world: Snapshot) -> None:
    with pytest.raises(Invalid, match="no target nowhere"):
        select(ticket(world), ["t-target", "nowhere"], {"t-target"})


def test_stops_of_one_persons_access_leave_others_on_the_same_assignment_alone(world: Snapshot) -> None:
    """Ann's access through one ticket ends everywhere; bob's on the same account and set stays."""
    anns, both = approved(world, "anns", "ann"), approved(world, "both", "ann", "bob")
    stops = find_stops(anns, Selection(frozenset({"anns-target"}), named=False), [anns, both])
    assert [[grant.id for grant in stop.grants] for stop in stops] == [["anns-ann"], ["both-ann"]]
    change = termination.terminate(stops[1], ORIGIN)
    assert state_of(change.state, "both-ann") is GrantState.REVOKING
    assert state_of(change.state, "both-bob") is GrantState.SCHEDULED
    assert event_of(change).grant_ids == ("both-ann",)


def test_stops_withdraw_pending_targets_of_the_ticket_asked_about_only(world: Snapshot) -> None:
    mine = with_second_target(approved(world, "mine"))
    other = with_second_target(approved(world, "other"))
    stops = find_stops(mine, Selection(frozenset({"mine-target", "second"}), named=False), [mine, other])
    assert [stop.targets for stop in stops] == [("second",), ()]
    change = termination.terminate(stops[0], ORIGIN)
    assert change.state.targets[1].state is TargetState.WITHDRAWN
    assert {grant.code for grant in change.state.grants} == {"terminated"}


def test_stops_where_nothing_lives_is_a_conflict(world: Snapshot) -> None:
    mine = approved(world)
    over = mine.model_copy(
        update={"grants": tuple(g.model_copy(update={"state": GrantState.REVOKED}) for g in mine.grants)}
    )
    with pytest.raises(Conflict, match="nothing to end"):
        find_stops(over, Selection(frozenset({"t-target"}), named=False), [over])


def test_outcome_names_what_ends_and_what_remains_with_its_reason(world: Snapshot) -> None:
    mine = after(
        approved(world),
        fact(AccessGranted, "t-ann", credentials_until=CREDENTIALS, already_held=True),
        fact(AccessGranted, "t-bob", credentials_until=CREDENTIALS - timedelta(minutes=1)),
    )
    ended = Selection(frozenset({"t-target"}), named=False)
    result = outcome(mine, ended, find_stops(mine, ended, [mine]))
    assert result.ending == (Ending("t", "t-ann", ANN), Ending("t", "t-bob", BOB))
    assert result.credentials_until == CREDENTIALS
    assert [one.why for one in result.remains] == [
        "the assignment was there before JIT and is not JIT's to remove"
    ]


@pytest.mark.parametrize(
    ("named", "why"), [(True, "you did not name this target"), (False, "you may not end this target")]
)
def test_outcome_says_why_another_target_remains(world: Snapshot, named: bool, why: str) -> None:
    mine = with_second_target(approved(world, "t", "ann"))
    result = outcome(mine, Selection(frozenset({"second"}), named=named), [])
    assert result.remains == (RemainingGrant("t-ann", ANN, why),)
