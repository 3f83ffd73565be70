"""A ticket's life over HTTP, from the request to the closed ticket, judged by AWS's truth, mail and log."""

import asyncio
import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from shared.text.durations import format_duration
from tests.support.running import Running, as_read, until
from tests.support.stack import BRIEF_SET
from tests.support.together import together

pytestmark = pytest.mark.e2e

BOTH_STAGES = ("carl", "dora")
LIFE = [
    "ticket.submitted",
    "review.opened",
    "review.stage_opened",
    "review.decided",
    "review.approved",
    "ticket.approved",
    "access.scheduled",
    "access.granting",
    "access.granted",
    "access.revoke_due",
    "access.revoked",
    "ticket.closed",
]
"""Every fact of a ticket with one stage, in the order in which one causes the next."""


@together
async def test_request_with_two_stages_is_granted_ends_and_is_told_to_everybody(running: Running) -> None:
    account = running.spare_account("standard")
    ticket = await running.submit(
        "ann", (account, "Administrator"), duration=running.brief, reference="CHG-1"
    )
    key = ticket["id"]
    assert ticket["state"] == "pending"
    await running.decide("carl", key)
    assert not running.calls("CreateAccountAssignment", "ann", account), "one stage of two opens nothing"
    await running.decide("dora", key)
    granted = await running.until_state(key, "active")
    assert running.present("ann", account, "Administrator")
    assert granted["grants"][0]["granted_at"] >= granted["targets"][0]["window"]["starts_at"]

    ended = await running.until_state(key, "ended")
    assert not running.present("ann", account, "Administrator")
    assert running.history("ann", account, "Administrator") == ["appeared", "disappeared"]
    assert ended["grants"][0]["code"] == "expired"
    for person, headline in [
        ("carl", "Your approval is needed"),
        ("cora", "Your approval is needed"),
        ("dora", "Your approval is needed"),
        ("ann", "Request submitted"),
        ("ann", "Request approved"),
        ("ann", "Access granted"),
        ("ann", "Access ended"),
    ]:
        await running.until_mailed(key, person, headline)


@together
async def test_mails_of_a_ticket_are_one_per_event_and_recipient_in_one_thread(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration=running.brief)
    await running.until_state(ticket["id"], "ended")
    ann, bob = running.user_id("ann"), running.user_id("bob")

    async def delivered() -> bool:
        everything = await running.deliveries(ticket["id"])
        waits = any(one["state"] == "pending" for one in everything)
        return not waits and any(
            (one["recipient"], one["template"]) == (ann, "revoked") for one in everything
        )

    await until(delivered, 60)
    await running.require_told_once(ticket["id"])
    everything = await running.deliveries(ticket["id"])
    assert {one["template"] for one in everything if one["recipient"] == bob} == {"approval_needed"}
    mails = running.mails(ticket["id"])
    ids = [mail.receipt.message_id for mail in mails]
    assert sorted(ids) == sorted(one["message_id"] for one in everything if one["state"] == "sent")
    assert len(ids) == len(set(ids))
    assert len({mail.thread for mail in mails}) == 1


@together
async def test_brief_ticket_is_closed_and_its_trail_is_complete_and_in_order(running: Running) -> None:
    account = running.spare_account("sandbox")
    scope = {
        "name": "Queues in sandboxes",
        "subjects": [f"user:{running.user_id('bob')}"],
        "accounts": f"acct:{running.account_id(account)}",
        "sets": f"ps:{running.set_id(BRIEF_SET)}",
        "max_duration": "PT1H",
    }
    rule = {
        "name": "Queues in sandboxes",
        "accounts": scope["accounts"],
        "sets": scope["sets"],
        "stages": [{"approvers": [f"user:{running.user_id('dirk')}"], "needed": 1}],
    }
    root = running.person("root")
    written = [await root.put("/v1/scopes/queues", scope), await root.put("/v1/rules/queues", rule)]
    seen = ",".join(one.headers["Jit-Revision"] for one in written)
    ticket = await running.person("bob").post(
        "/v1/tickets",
        {
            "targets": [running.target(account, BRIEF_SET)],
            "reason": "replay the queue",
            "duration": format_duration(running.brief),
        },
        status=201,
        headers={"Jit-Min-Revision": seen},
    )
    await running.decide("dirk", ticket["id"])
    closed = await running.until_state(ticket["id"], "closed")
    assert closed["closed_at"] >= closed["credentials_until"] >= closed["targets"][0]["window"]["ends_at"]
    await running.until_recorded(ticket["id"], *LIFE)
    codes = [code for code in await running.codes(ticket["id"]) if code != "access.revoke_overdue"]
    assert sorted(codes) == sorted(LIFE), "each fact once"
    for owner in ("ticket.", "review.", "access."):
        mine = [code for code in codes if code.startswith(owner)]
        assert mine == [code for code in LIFE if code.startswith(owner)], f"{owner} in its owner's order"


@together
async def test_reject_at_either_stage_ends_the_request_and_gives_nothing(running: Running) -> None:
    async def rejected_by(*people: str) -> None:
        account = running.spare_account("standard")
        ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
        for approver in people[:-1]:
            await running.decide(approver, ticket["id"])
        await running.decide(people[-1], ticket["id"], "reject", comment="not during the freeze")
        await running.until_state(ticket["id"], "rejected")
        mail = await running.until_mailed(ticket["id"], "ann", "Request rejected")
        assert "not during the freeze" in (mail.text or "")
        assert not running.history("ann", account, "Administrator")
        assert not running.calls("CreateAccountAssignment", "ann", account)
        codes = await running.until_recorded(ticket["id"], "ticket.rejected")
        assert "access.scheduled" not in codes

    await asyncio.gather(rejected_by("carl"), rejected_by("carl", "dora"))


@together
async def test_withdraw_before_the_start_gives_nothing(running: Running) -> None:
    soon = (running.clock.now() + timedelta(hours=2)).isoformat()

    async def withdrawn(*, approved: bool) -> None:
        account = running.spare_account("nonprod")
        more: dict[str, Any] = {"starts_at": soon} if approved else {}
        ticket = await running.submit("ann", (account, "Developer"), duration="PT1H", **more)
        if approved:
            await running.decide("bob", ticket["id"])
            await running.until_state(ticket["id"], "scheduled")
        else:
            await running.waiting_reviews("bob", ticket["id"])
        path = f"/v1/tickets/{ticket['id']}/withdraw"
        await running.person("bob").post(path, status=403)
        await running.person("ann").post(path, {"reason": "found another way"})
        states = ("failed", "withdrawn", "ended") if approved else ("withdrawn",)
        await running.until_state(ticket["id"], *states)
        await running.until_mailed(ticket["id"], "ann", "Request withdrawn")
        assert not running.calls("CreateAccountAssignment", "ann", account)

    await asyncio.gather(withdrawn(approved=False), withdrawn(approved=True))


@together
async def test_return_gives_the_access_back_before_its_end(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
    await running.person("bob").post(f"/v1/tickets/{ticket['id']}/return", status=409)
    assert running.present("ann", account, "Developer"), "nobody returns what is not theirs"
    await running.person("ann").post(f"/v1/tickets/{ticket['id']}/return", {"reason": "done early"})
    ended = await running.until_state(ticket["id"], "ended")
    assert ended["grants"][0]["code"] == "returned"
    assert not running.present("ann", account, "Developer")
    await running.until_mailed(ticket["id"], "ann", "Access given back")


@together
async def test_terminate_by_approver_or_administrator_ends_every_ticket_on_the_same_access(
    running: Running,
) -> None:
    async def terminated_by(who: str) -> None:
        account = running.spare_account("nonprod")
        first, second = await asyncio.gather(
            *(running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H") for _ in range(2))
        )
        await running.person("eve").post(f"/v1/tickets/{first['id']}/terminate", status=404)
        answer = await running.person(who).post(
            f"/v1/tickets/{first['id']}/terminate", {"reason": "incident 7"}, status=202
        )
        assert {one["ticket_id"] for one in answer["ending"]} == {first["id"], second["id"]}
        await asyncio.gather(*(running.until_state(one["id"], "ended") for one in (first, second)))
        assert running.history("ann", account, "Developer") == ["appeared", "disappeared"]

    await asyncio.gather(terminated_by("bob"), terminated_by("root"))


@together
async def test_end_with_another_ticket_on_the_same_access_keeps_it_until_the_last_end(
    running: Running,
) -> None:
    account = running.spare_account("nonprod")
    longer = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
    short = await running.granted("ann", (account, "Developer"), by=["bob"], duration=running.brief)
    released = await running.until_state(short["id"], "ended")
    assert released["grants"][0]["state"] == "released"
    assert released["grants"][0]["kept_by"] == [longer["grants"][0]["id"]]
    assert running.history("ann", account, "Developer") == ["appeared"], "never absent in between"
    await running.until_mailed(short["id"], "ann", "Access ended here, but remains")
    await running.person("ann").post(f"/v1/tickets/{longer['id']}/return")
    await running.until_state(longer["id"], "ended")
    assert running.history("ann", account, "Developer") == ["appeared", "disappeared"]


@together
async def test_access_held_before_is_said_and_never_removed(running: Running) -> None:
    before = running.calls("DeleteAccountAssignment", "ann", "orders-dev")
    ticket = await running.granted("ann", ("orders-dev", "Developer"), by=["bob"], duration=running.brief)
    assert ticket["grants"][0]["already_held"]
    ended = await running.until_state(ticket["id"], "ended")
    assert (ended["grants"][0]["state"], ended["grants"][0]["kept_by"]) == ("released", ["not_ours"])
    assert running.present("ann", "orders-dev", "Developer")
    assert running.calls("DeleteAccountAssignment", "ann", "orders-dev") == before == []


@together
async def test_request_for_others_with_several_targets_is_decided_target_by_target(running: Running) -> None:
    dev, other = running.spare_account("nonprod"), running.spare_account("nonprod")
    ticket = await running.submit(
        "bob",
        (dev, "Developer"),
        (other, "PowerUser"),
        beneficiaries=["ann", "eve"],
        duration="PT1H",
    )
    assert len(ticket["grants"]) == 4
    owner = running.approver_of_development()
    reviews = {one["account_id"]: one for one in await running.waiting_reviews(owner, ticket["id"])}
    for account, verdict in [(dev, "approve"), (other, "reject")]:
        review = reviews[running.account_id(account)]
        await running.person(owner).post(
            f"/v1/reviews/{review['id']}/decisions",
            {"verdict": verdict, "comment": "one of the two is enough"},
            status=201,
            headers=as_read(review),
        )
    await until(lambda: all(running.present(name, dev, "Developer") for name in ("ann", "eve")), 60)
    assert not any(running.history(name, other, "PowerUser") for name in ("ann", "eve", "bob"))
    for name in ("ann", "eve", "bob"):
        await running.until_mailed(ticket["id"], name, "Request submitted")

    # One beneficiary's return takes nothing from the other.
    await running.person("ann").post(f"/v1/tickets/{ticket['id']}/return")
    await until(lambda: not running.present("ann", dev, "Developer"), 60)
    assert running.present("eve", dev, "Developer")
    await running.person("root").post(f"/v1/tickets/{ticket['id']}/terminate", status=202)
    await until(lambda: not running.present("eve", dev, "Developer"), 60)


@together
async def test_request_in_a_sandbox_is_approved_by_its_rule(running: Running) -> None:
    account = running.spare_account("sandbox")
    ticket = await running.granted("ann", (account, "Administrator"), duration=running.brief)
    codes = await running.until_recorded(ticket["id"], "access.granted")
    assert "review.decided" not in codes
    await running.until_state(ticket["id"], "ended")
    assert running.history("ann", account, "Administrator") == ["appeared", "disappeared"]


@together
async def test_request_longer_than_the_rule_approves_by_itself_waits_or_is_refused(running: Running) -> None:
    account = running.spare_account("sandbox")
    problem = await running.submit("ann", (account, "Administrator"), duration="PT9H", status=422)
    assert {one["code"] for one in problem["errors"]} == {"no_rule"}


@together
async def test_request_nobody_decides_times_out_and_cannot_be_approved_any_more(running: Running) -> None:
    account = running.spare_account("standard")
    end = running.brief_end
    ticket = await running.submit("ann", (account, "Administrator"), ends_at=end)
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    await running.until_state(ticket["id"], "timed_out")
    await running.until_mailed(ticket["id"], "ann", "Request timed out")
    problem = await running.person("carl").post(
        f"/v1/reviews/{review['id']}/decisions", {"verdict": "approve"}, status=409, headers=as_read(review)
    )
    assert problem["code"] == "state"
    assert not running.calls("CreateAccountAssignment", "ann", account)


@together
async def test_request_for_a_group_of_sets_is_one_grant_for_each_set(running: Running) -> None:
    account = running.spare_account("sandbox")
    body = {
        "targets": [{"account": running.account_id(account), "set_group": "elevated"}],
        "reason": "rebuild the sandbox from nothing",
        "duration": "PT1H",
    }
    ticket = await running.person("ann").post("/v1/tickets", body, status=201)
    names = [one["set_name"] for one in ticket["targets"]]
    assert sorted(names) == ["Administrator", "DatabaseAdmin", "Developer", "PowerUser", "SystemAdmin"]
    await until(lambda: all(running.present("ann", account, name) for name in names), 60)
    # The operator's way out: everything of one account, without the ticket service.
    answer = await running.person("root").post(
        "/v1/revocations", {"account_id": running.account_id(account), "reason": "account is compromised"}
    )
    assert len(answer["ended"]) == len(names)
    await until(lambda: not any(running.present("ann", account, name) for name in names), 60)
    ended = await running.until_state(ticket["id"], "ended")
    assert {one["code"] for one in ended["grants"]} == {"revoked_by_operator"}


@together
async def test_what_the_page_of_a_mails_link_says_to_paste_decides_on_what_it_showed(
    running: Running,
) -> None:
    ticket = await running.submit("ann", (running.spare_account("standard"), "Administrator"))
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    page = (await running.client.get(f"/reviews/{review['id']}")).text
    token, look, vote = (unescape(shell) for shell in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL))
    assert (await pasted(token.replace("NAME", "carl"), look, vote))["state"] == "open"
    (stage,) = await running.waiting_reviews("dora", ticket["id"])
    assert (stage["id"], stage["stage"]) == (review["id"], 2)
    stale = f"SHOWN='ETag: \"{review['version']}\"'"
    assert (await pasted(token.replace("NAME", "dora"), stale, vote))["status"] == 412


async def pasted(*commands: str) -> dict[str, Any]:
    """The JSON that the last of these commands prints, in one shell."""
    *before, last = commands
    script = "\n".join(
        [*(f"{command} > /dev/null" if "printf" in command else command for command in before), last]
    )
    shell = await asyncio.create_subprocess_exec("bash", "-euc", script, stdout=asyncio.subprocess.PIPE)
    printed, _ = await shell.communicate()
    answer: dict[str, Any] = json.loads(printed)
    return answer


@together
async def test_revocation_of_a_user_ends_everything_of_theirs_and_nothing_else(running: Running) -> None:
    # An engineer whom no scenario beside this one names.
    directory = running.stack.simulator.directory
    engineers = directory.members_of(directory.find_group("engineers").id)
    users = [directory.users[one.user] for one in engineers]
    gone = next(one.user_name for one in users if one.enabled)
    accounts = [running.spare_account("nonprod") for _ in range(3)]
    tickets = await asyncio.gather(
        running.granted(gone, (accounts[0], "Developer"), by=["bob"], duration="PT1H"),
        running.granted(gone, (accounts[1], "PowerUser"), by=["bob"], duration="PT1H"),
        running.granted("ann", (accounts[2], "Developer"), by=["bob"], duration="PT1H"),
    )
    body = {"user_id": running.user_id(gone), "reason": "the contract ended today"}
    await running.person("bob").post("/v1/revocations", body, status=403)
    await running.person("root").post("/v1/revocations", body)
    await asyncio.gather(*(running.until_state(one["id"], "ended") for one in tickets[:2]))
    assert not running.present(gone, accounts[0], "Developer")
    assert not running.present(gone, accounts[1], "PowerUser")
    assert running.present("ann", accounts[2], "Developer")
