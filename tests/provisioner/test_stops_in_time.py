"""A stop that is committed while a creation waits for its turn: AWS is not asked."""

import asyncio
from datetime import timedelta

from shared.contracts import access
from tests.support.aws_turns import queued
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
CREATE, DELETE = "CreateAccountAssignment", "DeleteAccountAssignment"


async def test_create_whose_claim_was_stopped_while_it_waited_for_its_turn_is_not_sent(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    with queued(lab, "create") as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        assert await lab.story() == ["scheduled", "granting"]
        await lab.take(lab.stop(ticket))
        queue.go.set()
        await stepping
    await lab.run_until(access.AccessFailed)
    assert lab.calls(CREATE) == 0
    assert lab.presence() == []
    assert (await lab.row())["op_kind"] is None


async def test_create_whose_window_ended_while_it_waited_for_its_turn_is_not_sent(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=10))
    with queued(lab, "create") as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        lab.clock.advance(4 * S)
        await lab.current.lease.renew()
        lab.clock.advance(6 * S)
        await lab.current.lease.renew()
        queue.go.set()
        await stepping
    await lab.run(60)
    assert lab.calls(CREATE) == 0


async def test_create_that_another_claim_still_wants_is_sent_after_its_turn(lab: Lab) -> None:
    stopped = await lab.approve(lab.ticket(seconds=600))
    await lab.approve(lab.ticket(seconds=300))
    with queued(lab, "create") as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        await lab.take(lab.stop(stopped))
        queue.go.set()
        await stepping
    await lab.run(20)
    assert lab.holds()
    assert lab.calls(CREATE) == 1


async def test_create_that_waited_longer_than_the_lease_is_not_sent(lab: Lab) -> None:
    """The database is asked in between, which may take its time: the lease is checked after that."""
    await lab.approve(lab.ticket(seconds=600))
    with queued(lab, "create") as queue:
        stepping = asyncio.ensure_future(lab.run(0))
        await queue.waiting.wait()
        lab.clock.advance(2 * S)
        queue.go.set()
        await stepping
    assert lab.calls(CREATE) == 0


async def test_delete_is_sent_after_its_turn_whatever_happened_meanwhile(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessGranted)
    with queued(lab, "revoke", after=1) as queue:  # the list; then the deletion
        stepping = asyncio.ensure_future(lab.run(20))
        await queue.waiting.wait()
        await lab.approve(lab.ticket(seconds=60))
        queue.go.set()
        await stepping
    assert lab.calls(DELETE) == 1
