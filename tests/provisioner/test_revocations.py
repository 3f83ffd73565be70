"""An operator ends everything of a user or an account: every open state, told by name, and recorded."""

from typing import Any

import pytest

from services.provisioner.commands.stops import Revoked, revoke
from shared.contracts import access
from shared.contracts.configuration import RevocationOrdered
from tests.provisioner.test_stops import operator
from tests.support.harness import said
from tests.support.provisioner_lab import Lab

WHY = "laptop was stolen"


async def revoked(lab: Lab, **named: str) -> Revoked:
    async with lab.context.unit_of_work() as work:
        return await revoke(lab.context, work, operator(lab), reason=WHY, **named)


async def one_in_each_state(lab: Lab) -> dict[str, str]:
    """Ann's and bob's grants on one account, id by state; AWS works on the newest."""
    active = await lab.approve(lab.ticket("ann", seconds=600))
    await lab.run(20)
    waiting = lab.ticket("ann", name="Developer", seconds=600)
    await lab.take(lab.approval(waiting))
    scheduled = await lab.approve(lab.ticket("ann", name="BreakGlass", seconds=600, starts_in=300))
    granting = await lab.approve(lab.ticket("bob", seconds=600))
    await lab.run(0)
    tickets = {"active": active, "waiting": waiting, "scheduled": scheduled, "granting": granting}
    rows = await lab.context.pool.fetch("SELECT id, state FROM claim")
    assert {row["id"]: row["state"] for row in rows} == {
        ticket.grants[0].id: state for state, ticket in tickets.items()
    }
    return {state: ticket.grants[0].id for state, ticket in tickets.items()}


async def test_revocation_of_an_account_ends_what_is_in_any_open_state_and_nothing_comes_back(
    lab: Lab,
) -> None:
    grants = await one_in_each_state(lab)
    done = await revoked(lab, account_id=lab.account())
    assert {claim.id for claim in done.ended} == set(grants.values())
    await lab.run(600)
    assert not lab.aws.assignments() or not (lab.holds() or lab.holds("bob"))
    states = await lab.context.pool.fetch("SELECT id, state FROM claim")
    assert {row["state"] for row in states} == {"revoked", "failed"}
    spans = [until for _, _, until in lab.presence()]
    assert None not in spans


async def test_revocation_of_a_user_leaves_the_others(lab: Lab) -> None:
    grants = await one_in_each_state(lab)
    done = await revoked(lab, user_id=lab.user("ann"))
    assert {claim.id for claim in done.ended} == set(grants.values()) - {grants["granting"]}
    await lab.run(60)
    assert (lab.holds(), lab.holds("bob")) == (False, True)


@pytest.mark.parametrize("by", ["user_id", "account_id"])
async def test_revocation_is_one_fact_with_who_why_whose_and_which(lab: Lab, by: str) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    named: dict[str, str] = {by: {"user_id": lab.user("ann"), "account_id": lab.account()}[by]}
    await revoked(lab, **named)
    (fact,) = await said(lab.service, RevocationOrdered)
    told: dict[str, Any] = fact.model_dump(include={"ticket_id", "user_id", "account_id"}, exclude_none=True)
    assert isinstance(fact, RevocationOrdered)
    assert (told, fact.ended) == (named, (ticket.grants[0].id,))
    assert (fact.actor.name, fact.why) == ("carl", WHY)


async def test_revocation_of_what_has_nothing_live_is_recorded_all_the_same(lab: Lab) -> None:
    done = await revoked(lab, user_id=lab.user("ann"))
    assert (done.nothing_live, done.ended) == (True, ())
    (fact,) = await said(lab.service, RevocationOrdered)
    assert isinstance(fact, RevocationOrdered)
    assert fact.ended == ()


async def test_second_revocation_ends_nothing_twice(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    await revoked(lab, user_id=lab.user("ann"))
    again = await revoked(lab, user_id=lab.user("ann"))
    assert (again.ended, [one.why for one in again.remaining]) == ((), ["being_revoked"])
    await lab.run(60)
    assert len(await lab.said(access.AccessRevoked)) == 1
