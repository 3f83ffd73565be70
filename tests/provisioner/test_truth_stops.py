"""A stop of all access of a user, or on an account: it meets what was asked for before, whenever it comes."""

import asyncio
from datetime import timedelta

import pytest

from services.provisioner.commands.stops import Revoked, revoke
from services.provisioner.store.retention import rules
from shared.contracts import access
from shared.contracts.stop import AFTERWARDS
from shared.contracts.windows import LONGEST_LEAD, LONGEST_WINDOW
from shared.database.retention import purge
from tests.provisioner.test_stops import operator
from tests.support.provisioner_lab import Lab

S, DAY = timedelta(seconds=1), timedelta(days=1)
KINDS = ("user", "account")


async def stop_all(lab: Lab, kind: str, *, reason: str = "incident") -> Revoked:
    """Ann's access, or that on her account."""
    user = lab.user("ann") if kind == "user" else None
    account = lab.account("orders-prod") if kind == "account" else None
    async with lab.context.unit_of_work() as work:
        return await revoke(lab.context, work, operator(lab), reason=reason, user_id=user, account_id=account)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_asked_for_before_and_approved_later_is_stopped(lab: Lab, kind: str) -> None:
    """With the operator's name and reason."""
    before = lab.ticket(seconds=600)
    lab.clock.advance(S)
    await stop_all(lab, kind)
    lab.clock.advance(S)
    await lab.approve(before)
    await lab.run(60)
    assert await lab.story() == ["revoke_due(revoked_by_operator)", "failed(revoked_by_operator)"]
    [due] = await lab.said(access.AccessRevokeDue)
    assert (due.actor.name, due.why) == ("carl", "incident")
    assert lab.calls("CreateAccountAssignment") == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_asked_for_afterwards_is_given(lab: Lab, kind: str) -> None:
    await stop_all(lab, kind)
    lab.clock.advance(S)
    await lab.approve(lab.ticket(seconds=600))
    await lab.run_until(access.AccessGranted)
    assert lab.holds()


@pytest.mark.parametrize("kind", KINDS)
async def test_each_stop_counts_by_its_own_time(lab: Lab, kind: str) -> None:
    """Fails where only the first of a user is kept."""
    await stop_all(lab, kind)
    lab.clock.advance(S)
    between = lab.ticket(seconds=600)
    lab.clock.advance(S)
    await stop_all(lab, kind)
    await lab.approve(between)
    await lab.run(10)
    assert (await lab.story())[-1] == "failed(revoked_by_operator)"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_asked_for_in_the_moment_of_the_stop_is_stopped(lab: Lab, kind: str) -> None:
    ticket = lab.ticket(seconds=600)
    await stop_all(lab, kind)
    await lab.approve(ticket)
    assert (await lab.story())[-1] == "failed(revoked_by_operator)"


async def test_the_first_stop_that_meets_it_is_told(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    for kind, reason in (("account", "first"), ("user", "second")):
        lab.clock.advance(S)
        await stop_all(lab, kind, reason=reason)
    await lab.approve(ticket)
    [due] = await lab.said(access.AccessRevokeDue)
    assert due.why == "first"


async def test_a_whole_ticket_is_stopped_though_its_approval_comes_later(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    async with lab.context.unit_of_work() as work:
        await revoke(lab.context, work, operator(lab), reason="incident", ticket_id=ticket.id)
    await lab.approve(ticket)
    assert (await lab.story())[-1] == "failed(revoked_by_operator)"


async def test_others_are_not_meant(lab: Lab) -> None:
    other = lab.ticket("bob", account="orders-dev", seconds=600)
    lab.clock.advance(S)
    await stop_all(lab, "user")
    await stop_all(lab, "account")
    await lab.approve(other)
    await lab.run_until(access.AccessGranted)
    assert lab.holds("bob", account="orders-dev")


async def test_an_approval_that_is_being_stored_at_that_moment_is_stopped(lab: Lab) -> None:
    """Fails where the stop reads the claims before they are committed, and they the stops before it is."""
    approval = lab.approval(lab.ticket(seconds=600))
    async with lab.context.unit_of_work() as work:
        await lab._handle(work, approval)
        stopping = asyncio.ensure_future(stop_all(lab, "user"))
        await asyncio.wait([stopping], timeout=0.2)
        assert not stopping.done()
    stopped = await stopping
    assert [claim.ticket_id for claim in stopped.ended] == [approval.event.ticket.id]


async def test_a_stop_that_is_being_stored_at_that_moment_is_met(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    async with lab.context.unit_of_work() as work:
        await revoke(lab.context, work, operator(lab), reason="incident", user_id=lab.user("ann"))
        storing = asyncio.ensure_future(lab.take(lab.approval(ticket)))
        await asyncio.wait([storing], timeout=0.2)
        assert not storing.done()
    await storing
    assert await lab.story() == ["revoke_due(revoked_by_operator)", "failed(revoked_by_operator)"]


async def test_it_is_kept_for_as_long_as_it_can_meet_anything(lab: Lab) -> None:
    await stop_all(lab, "user")
    of_all = [rule for rule in rules(keep=400 * DAY) if rule.table == "stop_of_all"]
    until = lab.now + LONGEST_LEAD + LONGEST_WINDOW + AFTERWARDS
    for moment, kept in ((until - S, 1), (until, 0)):
        await purge(lab.context.pool, of_all, now=moment)
        assert await lab.context.pool.fetchval("SELECT count(*) FROM stop_of_all") == kept


async def test_nobody_takes_one_back(lab: Lab) -> None:
    await stop_all(lab, "user")
    for statement in ("DELETE FROM stop_of_all", "UPDATE stop_of_all SET until = now()"):
        with pytest.raises(Exception, match="permission denied"):
            await lab.context.pool.execute(statement)
