"""Two people at the same moment: votes, withdrawals and stops race, and access never outlives them."""

import asyncio
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.support.running import REASON, Running, as_read, until
from tests.support.together import together

pytestmark = pytest.mark.e2e

ROUNDS = 6
"""Races are run side by side so often."""


@together
async def test_race_of_vote_and_withdraw_never_leaves_access(running: Running) -> None:
    async def race() -> str:
        account = running.spare_account("nonprod")
        ticket = await running.submit("ann", (account, "Developer"), duration="PT1H")
        (review,) = await running.waiting_reviews("bob", ticket["id"])
        vote, withdrawn = await asyncio.gather(
            _vote(running, "bob", review),
            running.person("ann").call("POST", f"/v1/tickets/{ticket['id']}/withdraw"),
        )
        assert withdrawn.status_code == 200, withdrawn.text
        assert vote.status_code in {201, 409}, vote.text
        await running.until_state(ticket["id"], "withdrawn", "ended", "failed")
        return account

    accounts = await asyncio.gather(*(race() for _ in range(ROUNDS)))
    await _nothing_left(running, "Developer", accounts)


@together
async def test_race_of_last_vote_and_terminate_never_leaves_access(running: Running) -> None:
    async def race(number: int) -> str:
        account = running.spare_account("standard")
        ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
        await running.decide("carl", ticket["id"])
        (review,) = await running.waiting_reviews("dora", ticket["id"])
        stop = running.person("root").call("POST", f"/v1/tickets/{ticket['id']}/terminate")
        vote = _vote(running, "dora", review)
        answers = await asyncio.gather(*((stop, vote) if number % 2 else (vote, stop)))
        assert {one.status_code for one in answers} <= {201, 202, 409}, [one.text for one in answers]
        await running.until_state(ticket["id"], "withdrawn", "ended", "failed")
        return account

    accounts = await asyncio.gather(*(race(number) for number in range(ROUNDS)))
    await _nothing_left(running, "Administrator", accounts)


async def _vote(running: Running, who: str, review: dict[str, Any]) -> httpx2.Response:
    """One that comes behind a stop is refused."""
    path = f"/v1/reviews/{review['id']}/decisions"
    body = {"verdict": "approve", "comment": "yes"}
    return await running.person(who).call("POST", path, body, headers=as_read(review))


def _absent(running: Running, account: str, permission_set: str) -> bool:
    return not running.present("ann", account, permission_set)


async def _nothing_left(running: Running, permission_set: str, accounts: list[str]) -> None:
    """Looked at after another ticket went all the way: what was on its way has arrived by then."""
    await running.granted("ann", (running.spare_account("sandbox"), "Developer"), duration="PT1H")
    for account in accounts:
        await until(partial(_absent, running, account, permission_set))
        history = running.history("ann", account, permission_set)
        assert history in ([], ["appeared", "disappeared"]), (account, history)


@together
async def test_race_of_votes_counts_each_person_once(running: Running) -> None:
    async def race() -> None:
        account = running.spare_account("infrastructure")
        ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
        (review,) = await running.waiting_reviews("carl", ticket["id"])
        path = f"/v1/reviews/{review['id']}/decisions"

        async def vote(who: str) -> httpx2.Response:
            person = running.person(who)
            read = await person.get(f"/v1/reviews/{review['id']}")
            return await person.call(
                "POST", path, {"verdict": "approve", "comment": "yes"}, headers=as_read(read)
            )

        answers = await asyncio.gather(*(vote(who) for who in ["carl", "dora", "cora"] * 3))
        assert sum(one.status_code == 201 for one in answers) <= 2, "one of stage one, one of stage two"
        votes = (await running.person("carl").get(f"/v1/reviews/{review['id']}"))["votes"]
        names = [one["voter"]["user_name"] for one in votes]
        assert len(names) == len(set(names))
        assert names[0] in {"carl", "cora"}
        assert names[1:] in ([], ["dora"])

    await asyncio.gather(*(race() for _ in range(3)))


@together
async def test_disabled_person_is_out_with_the_next_reading(running: Running) -> None:
    """Submit while disabled: the token still holds, the person does not."""
    directory = running.stack.simulator.directory
    name = next(
        user.user_name
        for user in directory.users.values()
        if "on-call" in {directory.groups[one.group].name for one in directory.groups_of(user.id)}
    )
    account = running.spare_account("sandbox")
    person = running.person(name)
    await person.get("/v1/tickets")
    running.stack.simulator.edit(action="disable_user", user=name)
    await running.person("root").post("/v1/inventory/sync", {}, status=200)

    async def out() -> bool:
        return (await person.call("GET", "/v1/tickets")).status_code == 403

    await until(out, what="a disabled person is refused")
    answer = await person.call(
        "POST", "/v1/tickets", {"targets": [running.target(account, "ReadOnly")], "reason": REASON}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "identity_disabled")
