from datetime import timedelta

import pytest

from services.provisioner.background import Expiry
from services.provisioner.domain.timing import Objectives
from shared.contracts import access
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)


def producer(lab: Lab) -> Expiry:
    return Expiry(lab.context, objectives=Objectives())


@pytest.mark.parametrize(("after", "ended"), [(59.999, False), (60, True), (60.001, True)])
async def test_end_is_exact(lab: Lab, after: float, ended: bool) -> None:
    await lab.approve(lab.ticket(seconds=60))
    lab.clock.advance(after * S)
    await producer(lab).step()
    assert bool(await lab.said(access.AccessRevokeDue)) is ended


async def test_step_says_how_long_nothing_will_end(lab: Lab) -> None:
    assert await producer(lab).step() == 5
    await lab.approve(lab.ticket(seconds=3))
    assert await producer(lab).step() == 3
    await lab.approve(lab.ticket(seconds=1.5, name="Developer"))
    assert await producer(lab).step() == 1.5


async def test_end_says_how_late_it_is_and_nudges_the_engine(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    await lab.run_until(access.AccessGranted)
    before = lab.nudges
    lab.clock.advance(S * 3600)
    await producer(lab).step()
    [due] = await lab.said(access.AccessRevokeDue)
    assert due.late_by > timedelta(minutes=58)
    assert lab.nudges == before + 1
    row = await lab.row()
    assert (row["desired"], row["next_at"]) == ("absent", lab.now)


async def test_ends_of_hundreds_at_once_are_all_said_by_one_step(lab: Lab) -> None:
    for _ in range(3):
        await lab.approve(lab.ticket("ann", "bob", "eve", seconds=60))
    await lab.context.pool.execute(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
            account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
            version, received_at)
        SELECT 'copy-' || n || id, assignment_id, instance, ticket_id, target_id, revision, subject_id,
            user_id, account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at,
            state, version, received_at
        FROM claim, generate_series(1, 40) n
        """
    )
    lab.clock.advance(60 * S)
    await producer(lab).step()
    assert len(await lab.said(access.AccessRevokeDue)) == 9 * 41


async def test_two_producers_say_each_end_once(lab: Lab) -> None:
    await lab.approve(lab.ticket("ann", "bob", "eve", seconds=60))
    lab.clock.advance(61 * S)
    for one in (producer(lab), producer(lab)):
        await one.step()
    assert len(await lab.said(access.AccessRevokeDue)) == 3


async def test_end_whose_assignment_is_locked_is_tried_again_at_once(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    lab.clock.advance(61 * S)
    async with lab.context.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM assignment FOR UPDATE")
        assert 0 < await producer(lab).step() < 0.1
    await producer(lab).step()
    assert len(await lab.said(access.AccessRevokeDue)) == 1


async def test_engine_ends_what_is_over_although_no_producer_runs(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    for _ in range(60):
        await lab.current.engine.step()
        lab.clock.advance(S)
    assert (await lab.story())[2:] == ["granted", "revoke_due(expired)", "revoked(expired)"]


@pytest.mark.parametrize(("after", "late"), [(119, False), (121, True)])
async def test_overdue_is_said_once_beyond_the_objective_without_any_engine(
    lab: Lab, after: float, late: bool
) -> None:
    await lab.approve(lab.ticket(seconds=60))
    await lab.run_until(access.AccessGranted)
    left = (await lab.said(access.AccessGranted))[0].ends_at - lab.now
    lab.clock.advance(left)
    await producer(lab).step()
    lab.clock.advance(after * S)
    for _ in range(3):
        await producer(lab).step()
    assert len(await lab.said(access.AccessRevokeOverdue)) == int(late)
    assert ("revoke_overdue" in lab.alerts()) is late
