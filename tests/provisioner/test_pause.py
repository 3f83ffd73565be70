"""Grants paused: nothing begins and no end moves, what takes access away goes on, and everybody is told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.issuer import DevelopmentIssuer
from services.provisioner.commands.pause import pause_grants, resume_grants
from services.provisioner.reconcile import looking, visit
from services.provisioner.store import pause
from shared.contracts import access
from shared.contracts.configuration import GrantsPaused, GrantsResumed
from shared.database.pool import transaction
from shared.foundation.errors import Conflict
from tests.provisioner.test_stops import operator
from tests.support import organisation as org
from tests.support.harness import said
from tests.support.http import api, issuer_server, trusted
from tests.support.provisioner_lab import Lab, Premises, laboratory

WHY = "approvals came that nobody remembers"


async def paused(lab: Lab) -> tuple[str, ...]:
    async with lab.context.unit_of_work() as work:
        return (await pause_grants(lab.context, work, operator(lab), reason=WHY)).begun


async def resumed(lab: Lab) -> None:
    async with lab.context.unit_of_work() as work:
        await resume_grants(lab.context, work, operator(lab), reason="all of them were remembered")


# what waits


async def test_grant_while_paused_waits_without_a_call_and_begins_with_the_resumption(lab: Lab) -> None:
    await paused(lab)
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(60)
    assert await lab.story() == ["scheduled"]
    assert not lab.aws.records.calls
    await resumed(lab)
    await lab.run(20)
    assert lab.holds()


async def test_grant_while_paused_is_looked_at_six_times_a_minute_at_most(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds may wait for hours: they must not keep the database from what takes access away."""
    visits = 0
    decide = visit._decide

    async def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal visits
        visits += 1
        return await decide(*arguments, **named)

    monkeypatch.setattr(visit, "_decide", counted)
    await paused(lab)
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(60, step=1)
    assert 3 <= visits <= 7


async def test_pause_between_look_and_decision_lets_nothing_begin(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = looking.look

    async def pausing(*arguments: Any, **named: Any) -> looking.Seen:
        seen = await look(*arguments, **named)
        await paused(lab)
        return seen

    monkeypatch.setattr(looking, "look", pausing)
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(60)
    assert await lab.story() == ["scheduled"]
    assert lab.calls("CreateAccountAssignment") == 0
    assert lab.calls("ListAccountAssignments") == 1


async def test_pause_waits_for_a_grant_that_is_being_begun(lab: Lab) -> None:
    """What it does not name as begun does not begin after its answer."""
    async with transaction(lab.context.pool) as conn:
        assert await pause.hold(conn) is None
        waiting = asyncio.ensure_future(paused(lab))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    async with transaction(lab.context.pool) as conn:
        standing = await pause.hold(conn)
    assert standing is not None
    assert (standing.actor.name, standing.why) == ("carl", WHY)


async def test_grant_that_has_begun_is_named_and_goes_to_its_end(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(0)
    assert await paused(lab) == (ticket.grants[0].id,)
    await lab.run(20)
    assert lab.holds()


async def test_extension_waits_and_its_end_moves_with_the_resumption(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=120))
    await lab.run(20)
    await paused(lab)
    await lab.extend(ticket, seconds=600)
    await lab.run(30)
    assert await lab.said(access.AccessExtended) == []
    await resumed(lab)
    await lab.run(10)
    assert len(await lab.said(access.AccessExtended)) == 1


async def test_extension_that_waits_for_too_long_leaves_the_end_where_it_was(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=120))
    await lab.run(20)
    await paused(lab)
    await lab.extend(ticket, seconds=600)
    await lab.run_until(access.AccessRevoked, within=200)
    assert not lab.holds()
    assert await lab.said(access.AccessExtended) == []


async def test_grant_whose_window_ends_while_paused_fails_and_says_why(lab: Lab) -> None:
    await paused(lab)
    await lab.approve(lab.ticket(seconds=30))
    await lab.run(60)
    assert await lab.story() == ["scheduled", "revoke_due(expired)", "failed(expired)"]
    (told,) = [one for one in lab.context.alerts.active if one.key.startswith("grant_failed/")]
    assert f"grants are paused since {lab.now:%Y-%m-%d} " in told.detail
    assert "by carl" in told.detail


# what goes on


async def test_refusal_does_not_wait_for_the_pause_to_be_over(lab: Lab) -> None:
    await paused(lab)
    lab.replace_members("group-dev")
    await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    assert await lab.story() == ["scheduled", "failed(not_permitted)"]


async def test_end_while_paused_is_revoked_in_time(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    await lab.run(20)
    await paused(lab)
    revoked = await lab.run_until(access.AccessRevoked)
    assert revoked.late_by.total_seconds() < 60
    assert not lab.holds()


async def test_stop_while_paused_ends_access(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    await paused(lab)
    await lab.take(lab.stop(ticket))
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


# what is told


async def test_pause_is_alerted_as_long_as_it_lasts_also_after_a_start(lab: Lab) -> None:
    await paused(lab)
    (told,) = lab.context.alerts.active
    assert (told.key, told.detail.rpartition(": ")[2], told.once) == ("grants_paused", WHY, False)
    await lab.context.alerts.clear("grants_paused")  # as in a process that has just begun
    await lab.run(0)
    assert lab.alerts() == {"grants_paused"}
    await resumed(lab)
    assert lab.alerts() == set()
    await lab.run(0)
    assert lab.alerts() == set()


async def test_pause_that_another_replica_lifted_is_alerted_no_longer(lab: Lab) -> None:
    await paused(lab)
    await lab.context.pool.execute("UPDATE grant_pause SET since = NULL, actor = NULL, why = NULL")
    await lab.run(0)
    assert lab.alerts() == set()


async def test_second_pause_is_refused_and_names_the_first(lab: Lab) -> None:
    await paused(lab)
    with pytest.raises(Conflict, match=f"by carl already: {WHY}") as refused:
        await paused(lab)
    assert refused.value.code == "grants_paused"
    assert len(await said(lab.service, GrantsPaused)) == 1


async def test_resumption_of_what_is_not_paused_is_refused(lab: Lab) -> None:
    with pytest.raises(Conflict) as refused:
        await resumed(lab)
    assert refused.value.code == "grants_not_paused"
    assert await said(lab.service, GrantsResumed) == []


# over HTTP


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    data: Path = tmp_path_factory.mktemp("issuer")
    with issuer_server(data) as issuer:
        yield issuer


@pytest.fixture
async def served(
    shared_premises: Premises, issuer: DevelopmentIssuer
) -> AsyncIterator[tuple[Lab, httpx2.AsyncClient]]:
    """The lab with carl as its administrator, and his client."""
    async with laboratory(shared_premises, issuers=(trusted(issuer),)) as lab:
        lab.replace_members(org.group_id("admins"), lab.user("carl"))
        async with api(lab.service, issuer, "carl") as client:
            yield lab, client


async def test_pause_over_http_is_shown_and_both_are_facts_with_who_and_why(
    served: tuple[Lab, httpx2.AsyncClient],
) -> None:
    lab, client = served
    assert (await client.get("/v1/operations")).json()["pause"] is None
    begun = await client.post("/v1/grants/pause", json={"reason": WHY})
    shown = {"since": begun.json()["since"], "user_id": lab.user("carl"), "user_name": "carl", "reason": WHY}
    assert (begun.status_code, begun.json()) == (200, shown | {"begun": []})
    assert (await client.get("/v1/operations")).json()["pause"] == shown
    over = await client.post("/v1/grants/resume", json={"reason": "all of them were remembered"})
    assert (over.status_code, over.json()) == (200, shown)
    assert (await client.get("/v1/operations")).json()["pause"] is None
    (first,), (second,) = await said(lab.service, GrantsPaused), await said(lab.service, GrantsResumed)
    assert (first.subject, first.actor.name, first.why) == ("grants", "carl", WHY)
    assert isinstance(second, GrantsResumed)
    assert (second.subject, second.why) == ("grants", "all of them were remembered")
    assert (second.paused_at, second.paused_by.name, second.paused_why) == (first.at, "carl", WHY)


async def test_pause_needs_neither_policy_nor_broker_and_resumption_waits_for_both(
    served: tuple[Lab, httpx2.AsyncClient],
) -> None:
    lab, client = served
    for copy in lab.context.policy._copies.values():
        copy.verified = False
    assert (await client.post("/v1/grants/pause", json={"reason": WHY})).status_code == 200
    assert (await client.post("/v1/grants/resume", json={"reason": WHY})).status_code == 503


@pytest.mark.parametrize("path", ["/v1/grants/pause", "/v1/grants/resume"])
async def test_pause_and_resumption_want_a_reason(served: tuple[Lab, httpx2.AsyncClient], path: str) -> None:
    _, client = served
    answers = [await client.post(path, json=body) for body in ({}, {"reason": "short"})]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert [answer.json()["errors"][0]["field"] for answer in answers] == ["/reason", "/reason"]


async def test_grant_that_waits_says_to_its_owner_that_it_is_paused(
    shared_premises: Premises, issuer: DevelopmentIssuer
) -> None:
    """In our words: why operators paused it is theirs."""
    async with laboratory(shared_premises, issuers=(trusted(issuer),)) as lab:
        await paused(lab)
        ticket = await lab.approve(lab.ticket(seconds=600))
        await lab.run(5)
        async with api(lab.service, issuer, "ann") as client:
            shown = (await client.get(f"/v1/grants/{ticket.grants[0].id}")).json()
        await resumed(lab)
        await lab.run(20)
        async with api(lab.service, issuer, "ann") as client:
            after = (await client.get(f"/v1/grants/{ticket.grants[0].id}")).json()
    assert (shown["state"], after["state"], after["last_error"]) == ("scheduled", "active", "")
    assert "it was paused" in shown["last_error"]
    assert WHY not in str(shown)
