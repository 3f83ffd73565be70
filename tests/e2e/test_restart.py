"""The stack stopped in the middle, and its servers lost while it runs: nothing is lost, access ends.

On stacks of their own, always embedded: named servers are not ours to stop. They begin together, as
everything here does that mostly waits; the shared stack only keeps them company.
"""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from local.processes import free_ports
from tests.support.running import PATIENCE_S, Running, until
from tests.support.stack import data_folder, running_stack
from tests.support.together import together

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


@together
async def test_stop_and_start_in_the_middle_of_tickets_loses_and_doubles_nothing(running: Running) -> None:
    with data_folder() as data:
        await _stop_and_start(data, free_ports(3))


async def _stop_and_start(data: Path, ports: list[int]) -> None:
    async with running_stack(data, ports=ports, embedded=True) as running:
        sandbox, dev, prod = [running.spare_account(unit) for unit in ("sandbox", "nonprod", "standard")]
        pending = await running.submit("ann", (prod, "Administrator"), duration="PT1H")
        await running.decide("carl", pending["id"])
        held = await running.granted("ann", (sandbox, "Developer"), duration="PT1H")
        ending = await running.granted("ann", (dev, "Developer"), by=["bob"], duration=running.brief)
        just_asked = await running.submit("bob", (dev, "Developer"), beneficiaries=["eve"], duration="PT1H")
    window_end = ending["targets"][0]["window"]["ends_at"]

    # Down over the end of a window: nobody is there to end it.
    await until(lambda: running.clock.now().isoformat() > window_end, PATIENCE_S, what="the window is over")
    assert running.present("ann", dev, "Developer")

    async with running_stack(data, ports=ports, embedded=True) as running:
        await until(lambda: not running.present("ann", dev, "Developer"), PATIENCE_S)
        await running.until_state(ending["id"], "ended")
        assert running.present("ann", sandbox, "Developer")
        assert (await running.ticket(held["id"]))["state"] == "active"
        # Votes given before count, and those missing can be given.
        await running.decide("dora", pending["id"])
        await running.until_state(pending["id"], "active")
        await running.decide(running.approver_of_development(), just_asked["id"])
        await running.until_state(just_asked["id"], "active")
        await running.person("ann").post(f"/v1/tickets/{held['id']}/return")
        await running.until_state(held["id"], "ended")
        for user, account, name in [
            ("ann", sandbox, "Developer"),
            ("ann", dev, "Developer"),
            ("ann", prod, "Administrator"),
            ("eve", dev, "Developer"),
        ]:
            assert running.history(user, account, name).count("appeared") == 1, (user, account)
        for ticket in (pending, held, ending, just_asked):
            await running.until_recorded(ticket["id"], "access.granted")
            codes = await running.codes(ticket["id"])
            once = [code for code in codes if not code.startswith(("review.", "authz."))]
            assert len(once) == len(set(once)), codes
            ids = [mail.receipt.message_id for mail in running.mails(ticket["id"])]
            assert len(ids) == len(set(ids)), "no mail twice"


@together
async def test_lost_servers_do_not_keep_access_alive(running: Running) -> None:
    with data_folder() as data:
        await _lose_servers(data)


async def _lose_servers(data: Path) -> None:
    async with running_stack(data, embedded=True) as running:
        await _broker_away_while_access_must_end(running)
        await _database_restarts_while_access_must_end(running)


async def _broker_away_while_access_must_end(running: Running) -> None:
    """Ends, an administrator's terminate at the provisioner, and reads work without the bus."""
    assert running.stack.broker is not None
    ends, stopped = [running.spare_account("nonprod") for _ in range(2)]
    brief = min(running.brief, timedelta(seconds=30))  # without the broker documents count for a minute
    both = await asyncio.gather(
        running.granted("ann", (ends, "Developer"), by=["bob"], duration=brief),
        running.granted("ann", (stopped, "Developer"), by=["bob"], duration="PT1H"),
    )
    running.stack.broker.set_down()
    try:
        accepted = await running.person("ann").call(
            "POST",
            "/v1/tickets",
            {
                "targets": [running.target(ends, "PowerUser")],
                "reason": "asked while the broker was away",
                "duration": "PT1H",
            },
        )
        assert accepted.status_code == 201, accepted.text
        await until(lambda: not running.present("ann", ends, "Developer"), PATIENCE_S)
        root = running.person("root")
        body = {"ticket_id": both[1]["id"], "reason": "the broker is away and it is urgent"}
        await root.post("/v1/revocations", body)
        await until(lambda: not running.present("ann", stopped, "Developer"), PATIENCE_S)
        assert (await root.call("GET", f"/v1/tickets/{both[0]['id']}")).status_code == 200
    finally:
        running.stack.broker.set_up()
    for ticket in both:
        await running.until_state(ticket["id"], "ended")
    await running.decide("bob", accepted.json()["id"])
    await running.until_state(accepted.json()["id"], "active")


async def _database_restarts_while_access_must_end(running: Running) -> None:
    """A crash of PostgreSQL: refused while it is away, and everything goes on when it is back."""
    assert running.stack.database is not None
    account = running.spare_account("nonprod")
    end = running.brief_end
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], ends_at=end)
    await asyncio.to_thread(running.stack.database.stop, "immediate")
    answer = await running.person("ann").call("GET", "/v1/tickets")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    # Here and not in a thread: the server must outlive none but us.
    running.stack.database.start()
    await running.until_state(ticket["id"], "ended")
    assert running.history("ann", account, "Developer") == ["appeared", "disappeared"]
    await until(lambda: _ready(running), PATIENCE_S, what="readiness after the database came back")
    other = running.spare_account("sandbox")
    await running.granted("ann", (other, "Developer"), duration="PT1H")


async def _ready(running: Running) -> bool:
    return (await running.client.get("/readyz")).status_code == 200
