"""Who waits for AWS's limit is told how many are before them, and about how long it takes."""

from datetime import timedelta

import pytest

from services.provisioner import views
from services.provisioner.domain.queue import Pace, in_line
from services.provisioner.store import schedule
from shared.contracts import access
from tests.support.provisioner_lab import Lab

PACE = Pace(slots=10, grant_slots=5, create_s=10, delete_s=4)


def line(*kinds: str) -> list[tuple[int, int]]:
    return [(one["before"], one["starts_in_s"]) for one in in_line([{"kind": kind} for kind in kinds], PACE)]


def test_creations_wait_for_those_before_them_by_the_slots_they_may_have() -> None:
    assert line(*["create"] * 11) == [(number, (number + 1) * 2) for number in range(11)]


def test_creations_wait_for_all_deletions_which_may_have_every_slot() -> None:
    assert line(*["delete"] * 10, "create")[-2:] == [(9, 4), (10, 6)]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (19, "starts in about 40 s: 19 before it at AWS's limit"),
        (60, "starts in about 3 min: 60 before it at AWS's limit"),
    ],
)
def test_what_is_said_is_for_people(before: int, said: str) -> None:
    assert in_line([{"kind": "create"}] * (before + 1), PACE)[-1]["expected"] == said


async def test_waiting_is_what_is_due_and_needs_a_slot(lab: Lab) -> None:
    """The same as the engine finds, whatever the moment; deletions first."""
    lab.current.engine.slots.total = 1
    lab.current.engine.slots.for_grants = 1
    await lab.approve(lab.ticket("ann", "bob", seconds=30))
    await lab.approve(lab.ticket("eve", account="orders-dev", starts_in=20, seconds=20))
    kinds = set()
    for _ in range(70):
        await lab.run(0)
        async with lab.context.pool.acquire() as conn:
            shown = await views.waiting(conn, now=lab.now)
            due = await schedule.due_assignments(conn, now=lab.now)
        found = [(one["kind"], one["account_id"]) for one in shown]
        assert sorted(found) == sorted((one.call, one.account_id) for one in due if one.call is not None)
        assert found == sorted(found, key=lambda one: one[0] == "create")
        kinds |= {kind for kind, _ in found}
        lab.clock.advance(timedelta(seconds=1))
    assert kinds == {"create", "delete"}
    assert len(await lab.said(access.AccessGranted)) >= 1
