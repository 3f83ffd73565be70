"""What is due together begins together, but for looks: they begin one after the other."""

from datetime import timedelta

import pytest

from services.provisioner.domain.assignments import Observed
from services.provisioner.reconcile.turns import LOOKS_WITHIN_S, spaced
from services.provisioner.store import assignments, schedule
from services.provisioner.store.schedule import Due
from tests.support.harness import NOW
from tests.support.provisioner_lab import Lab


def due(number: int, observed: Observed, *, wanted: bool) -> Due:
    return Due(number, f"account-{number}", "ps-1", observed, NOW, wanted=wanted, revoking=not wanted)


LOOK, CONFIRMED_END = (Observed.CREATED, True), (Observed.DELETED, False)
GRANT, REVOKE = (Observed.UNKNOWN, True), (Observed.PRESENT, False)


def test_looks_begin_one_after_the_other_and_nothing_waits_for_them() -> None:
    kinds = [LOOK, GRANT, LOOK, REVOKE, CONFIRMED_END, GRANT]
    candidates = [due(number, seen, wanted=wanted) for number, (seen, wanted) in enumerate(kinds)]
    waits = {one.id: wait_s for one, wait_s in spaced(candidates, every_s=0.1)}
    assert waits == pytest.approx({0: 0, 1: 0, 2: 0.1, 3: 0, 4: 0.2, 5: 0})


def test_looks_at_one_account_and_set_begin_together() -> None:
    alike = [due(number, Observed.CREATED, wanted=True) for number in (0, 1, 0, 2, 1)]
    assert [wait_s for _, wait_s in spaced(alike, every_s=0.1)] == pytest.approx([0, 0.1, 0, 0.2, 0.1])


def test_however_many_looks_are_due_the_last_begins_soon() -> None:
    candidates = [due(number, Observed.CREATED, wanted=True) for number in range(1000)]
    assert max(wait_s for _, wait_s in spaced(candidates, every_s=0.1)) == LOOKS_WITHIN_S


async def test_what_is_due_is_the_same_found_by_sql_and_by_what_is_loaded(lab: Lab) -> None:
    """A nudge names an assignment and judges it as loaded; the timer's round asks the database."""
    await lab.approve(lab.ticket("ann", "bob", seconds=30))
    await lab.approve(lab.ticket("eve", starts_in=20, seconds=20))
    kinds = set()
    for _ in range(70):
        await lab.run(0)
        lab.clock.advance(timedelta(seconds=1))
        async with lab.context.pool.acquire() as conn:
            found = await schedule.due_assignments(conn, now=lab.now)
            ids = await conn.fetch("SELECT id FROM assignment")
            loaded = await assignments.load(conn, [row["id"] for row in ids])
        assert {one.id: one for one in found} == {
            one.id: Due.of(one, lab.now) for one in loaded if one.is_due(lab.now)
        }
        kinds |= {(one.wanted, one.revoking) for one in found}
    assert kinds >= {(True, False), (False, True)}
