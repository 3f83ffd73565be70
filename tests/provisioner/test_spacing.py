"""What is due together begins together, but for looks: they begin one after the other."""

import pytest

from services.provisioner.domain.assignments import Observed
from services.provisioner.reconcile.engine import LOOKS_WITHIN_S, spaced
from services.provisioner.store.schedule import Due


def due(number: int, observed: Observed, *, wanted: bool) -> Due:
    return Due(number, "111111111111", observed, wanted=wanted, revoking=not wanted)


LOOK, CONFIRMED_END = (Observed.CREATED, True), (Observed.DELETED, False)
GRANT, REVOKE = (Observed.UNKNOWN, True), (Observed.PRESENT, False)


def test_looks_begin_one_after_the_other_and_nothing_waits_for_them() -> None:
    kinds = [LOOK, GRANT, LOOK, REVOKE, CONFIRMED_END, GRANT]
    candidates = [due(number, seen, wanted=wanted) for number, (seen, wanted) in enumerate(kinds)]
    waits = {one.id: wait_s for one, wait_s in spaced(candidates, every_s=0.1)}
    assert waits == pytest.approx({0: 0, 1: 0, 2: 0.1, 3: 0, 4: 0.2, 5: 0})


def test_however_many_looks_are_due_the_last_begins_soon() -> None:
    candidates = [due(number, Observed.CREATED, wanted=True) for number in range(1000)]
    assert max(wait_s for _, wait_s in spaced(candidates, every_s=0.1)) == LOOKS_WITHIN_S
