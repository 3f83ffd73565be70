"""Whose turn it is: rules that only a mutant found untested (bench/mutations/queue.py); pure."""

from datetime import timedelta

from services.provisioner.limits import Slots
from services.provisioner.reconcile.reads import KEPT_FOR
from services.provisioner.reconcile.turns import FAIR_AFTER, Turns
from tests.provisioner.test_storms import due, ids
from tests.support.harness import NOW

S = timedelta(seconds=1)


def test_creation_that_comes_back_for_its_turn_has_waited_since_it_first_came() -> None:
    turns = Turns(Slots(10, 7))
    for late in (FAIR_AFTER, FAIR_AFTER / 2, 0 * S):
        found = turns.in_order([due(1, revoke=True), due(2, late_s=late / S)], NOW)
    assert found[0].id == 2
    assert turns.in_order([due(1, revoke=True), due(3)], NOW)[0].id == 1, "another one has not"


def test_account_that_was_worked_on_a_while_ago_is_one_like_others() -> None:
    turns = Turns(Slots(10, 7))
    turns.began(due(1, account="warm"), NOW)
    wanted = [due(2, late_s=1), due(3, account="warm")]
    assert ids(turns.in_order(wanted, NOW + KEPT_FOR - S)) == [3, 2]
    assert ids(turns.in_order(wanted, NOW + KEPT_FOR)) == [2, 3]
