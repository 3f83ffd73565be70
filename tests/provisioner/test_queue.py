"""Who waits for AWS's limit is told how many are before them, and about how long it takes."""

from datetime import timedelta

import pytest

from local.issuer import DevelopmentIssuer
from services.provisioner import views
from services.provisioner.domain.queue import Pace, in_line
from services.provisioner.store import schedule
from shared.contracts import access
from tests.support.http import api, trusted
from tests.support.provisioner_lab import Lab, Premises, laboratory

PACE = Pace(slots=10, grant_slots=5, create_s=10, delete_s=4)


def line(*kinds: str) -> list[tuple[int, int]]:
    return [(one["before"], one["starts_in_s"]) for one in in_line([{"kind": kind} for kind in kinds], PACE)]


def test_creations_wait_for_those_before_them_by_the_slots_they_may_have() -> None:
    assert line(*["create"] * 11) == [(number, (number + 1) * 2) for number in range(11)]


def test_deletions_wait_for_those_before_them_by_every_slot() -> None:
    assert line(*["delete"] * 3) == [(0, 0), (1, 1), (2, 1)]


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


async def test_whose_grant_waits_reads_with_it_how_many_are_before_it_and_about_when_it_starts(
    shared_premises: Premises, issuer: DevelopmentIssuer
) -> None:
    async with laboratory(shared_premises, issuers=(trusted(issuer),)) as lab:
        slots = lab.current.engine.slots
        slots.total = slots.for_grants = 1
        first = await lab.approve(lab.ticket("bob", seconds=600))
        second = await lab.approve(lab.ticket("ann", account="orders-dev", seconds=600))
        await lab.run(1)
        async with api(lab.service, issuer, "ann") as client:
            [listed] = (await client.get("/v1/grants")).json()["items"]
            alone = (await client.get(f"/v1/grants/{second.grants[0].id}")).json()
        async with api(lab.service, issuer, "bob") as client:
            [begun] = (await client.get(f"/v1/grants?ticket_id={first.id}")).json()["items"]
        await lab.run(30)
        async with api(lab.service, issuer, "ann") as client:
            [there] = (await client.get("/v1/grants")).json()["items"]
    assert listed["expected"] == alone["expected"] == "starts in about 1 s: 0 before it at AWS's limit"
    assert (begun["state"], begun["expected"]) == ("granting", None)
    assert (there["state"], there["expected"]) == ("active", None)


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
