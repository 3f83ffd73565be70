"""Rules of the engine that only a mutant found untested (bench/mutations/): each test kills at least one."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from services.provisioner.domain import call_outcomes
from services.provisioner.driver import AssignmentKey
from services.provisioner.reconcile.polling import poll
from services.provisioner.store import schedule
from services.provisioner.store.schedule import InFlight
from shared.contracts import access
from shared.foundation.errors import Bug
from tests.support.aws_turns import queued
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
STATUSES = "ListAccountAssignmentCreationStatus"


async def test_engine_without_the_lease_begins_nothing(lab: Lab) -> None:
    await lab.current.lease.renew()
    standby = lab.replica("two").engine
    await lab.approve(lab.ticket())
    try:
        await standby._round()
        assert not standby._visits
        standby._named = {(await lab.row())["id"]}
        await standby._begin_named()
        assert not standby._visits
    finally:
        await standby.stop()


async def test_engine_begins_nothing_that_it_may_not_carry_through(lab: Lab) -> None:
    """What is left of the lease suffices to read and not to change: it was not renewed for two seconds."""
    engine = lab.current.engine
    await lab.current.lease.renew()
    await lab.approve(lab.ticket())
    lab.clock.advance(2 * S)
    assert lab.current.lease.held
    await engine._round()
    engine._named = {(await lab.row())["id"]}
    await engine._begin_named()
    assert not engine._visits


async def test_visit_that_breaks_is_told_held_back_and_made_again(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    granted = await lab.run_until(access.AccessGranted)
    lab.clock.advance(granted.ends_at - lab.now)
    await lab.current.expiry.step()
    # What cannot be: no ARN was stored, and nobody knows the set.
    pool = lab.context.pool
    await pool.execute("UPDATE assignment SET set_arn = NULL, set_id = 'ps-gone'")

    with pytest.raises(Bug, match="this is a bug"):
        await lab.current.engine.step()
    assert "visit" in lab.alerts()
    await lab.current.engine.step()  # held back: nothing is begun that could break
    lab.clock.advance(5 * S)
    with pytest.raises(Bug, match="this is a bug"):
        await lab.current.engine.step()

    await pool.execute("UPDATE assignment SET set_arn = $1, set_id = $2", lab.arn("ReadOnly"), granted.set_id)
    lab.clock.advance(5 * S)
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()
    assert "visit" not in lab.alerts()


async def in_flight(lab: Lab) -> list[InFlight]:
    async with lab.context.pool.acquire() as conn:
        return await schedule.in_flight(conn)


async def test_lost_creation_that_is_found_in_progress_is_not_over(lab: Lab) -> None:
    """Its slot stays its own. AWS lists one as the newest, which is somebody else's."""
    lab.aws.change_settings(page_limit=1)
    lab.aws.fault(operation="CreateAccountAssignment", kind="reset_after_accept", user="ann", times=1)
    await lab.approve(lab.ticket("ann"))
    await lab.run(0)
    theirs = AssignmentKey(lab.user("bob"), lab.account("orders-dev"), lab.arn("ReadOnly"))
    await lab.current.identity_center.create(theirs)
    lost = await in_flight(lab)
    assert [flight.op.request_id for flight in lost] == [None]
    assert await poll(lab.current.engine.parts, "create", lost) == set()
    [found] = await in_flight(lab)
    assert found.op.request_id is not None
    described = await lab.current.identity_center.follow("create", found.op.request_id)
    assert described.key is not None
    assert described.key.user_id == lab.user("ann"), "not somebody else's"
    assert await poll(lab.current.engine.parts, "create", [found]) == set()
    assert "operation" not in lab.alerts(), "it has had no time yet"


async def test_call_that_is_just_being_sent_is_not_asked_after(lab: Lab) -> None:
    await lab.approve(lab.ticket())
    with queued(lab, "create") as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        await lab.current.engine._round()
        await asyncio.wait(lab.current.engine._tasks(), timeout=0.3)
        assert lab.calls(STATUSES) == 0
        queue.go.set()
        await stepping


async def test_operations_are_asked_after_more_rarely_than_there_are_rounds(lab: Lab) -> None:
    """The lab's time stands still, so this one lasts."""
    await lab.approve(lab.ticket())
    await lab.run(0)
    asked, engine = lab.calls(STATUSES), lab.current.engine
    running = asyncio.ensure_future(engine.run())
    for _ in range(12):
        await asyncio.sleep(0.06)
        engine.nudge()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert lab.calls(STATUSES) - asked <= 2


async def test_engine_that_is_nudged_in_the_moment_it_is_cancelled_ends(lab: Lab) -> None:
    engine = lab.current.engine
    running = asyncio.ensure_future(engine.run())
    await asyncio.sleep(0.1)
    engine.nudge()
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    running.cancel()
    assert done


async def test_answer_about_one_operation_is_not_saved_while_another_is_in_flight(lab: Lab) -> None:
    await lab.approve(lab.ticket())
    await lab.run(0)
    [flight] = await in_flight(lab)
    save, over = lab.current.engine.parts.save_outcomes, partial(call_outcomes.succeeded, now=lab.now)
    earlier = replace(flight.op, request_id="of an earlier one")
    assert await save({flight.id: (earlier, over)}) == set()
    assert await in_flight(lab) == [flight]
    assert await save({flight.id: (flight.op, over)}) == {flight.id}
    assert await in_flight(lab) == []
