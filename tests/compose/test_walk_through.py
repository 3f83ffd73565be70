"""The README's walk-through against the containers of docker-compose.yml, judged from outside."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.compose import ComposeDemo, compose_demo, reason_to_skip
from tests.support.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

WITHIN_S = 60.0
"""Patience for one step over Kafka and AWS's stand-in; a few seconds are usual."""
REVOKED_WITHIN_S = 120.0
"""Absence counts after it was read several times over the settle time of 20 s."""


@pytest.fixture(scope="module")
def demo() -> Iterator[ComposeDemo]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with compose_demo() as running:
        yield running


async def test_walk_through_from_request_to_audit_on_real_servers(demo: ComposeDemo) -> None:
    async with demo.acting_as("ann") as ann, demo.acting_as("carl") as carl, demo.acting_as("dora") as dora:
        account, set_id = await account_named(ann, "shipping-prod"), await set_named(ann, "Administrator")
        ticket = await request(ann, account, set_id)

        refused = await ann.get("/v1/reviews")
        assert refused.json()["items"] == []
        await approve(carl, ticket)
        assert not await is_assigned(demo, account, "ann")
        await approve(dora, ticket)

        await until(lambda: grant_is(ann, ticket, "active"), WITHIN_S, what="the grant is active")
        assert await is_assigned(demo, account, "ann")

        answer = await ann.post(f"/v1/tickets/{ticket}/return")
        assert answer.status_code < 300, answer.text
        await until(lambda: grant_is(ann, ticket, "revoked"), REVOKED_WITHIN_S, what="the grant is revoked")
        assert not await is_assigned(demo, account, "ann")

    await audit_tells(demo, ticket)
    await until(
        lambda: mailed(demo, {"ann@example.com", "carl@example.com", "dora@example.com"}),
        WITHIN_S,
        what="mail to the requester and both approvers",
    )


async def test_services_as_containers_run_unprivileged_without_development_code(demo: ComposeDemo) -> None:
    looked_for = "('simulator', 'local', 'pytest', 'confluent_kafka')"
    found = demo.compose(
        "exec", "-T", "ticket", "python", "-c",
        f"import importlib.util as u, os; print([n for n in {looked_for} if u.find_spec(n)], os.getuid())",
        within_s=60,
    )  # fmt: skip
    assert found.split() == ["[]", "10001"]


async def test_issuer_asked_under_another_name_gives_no_token(demo: ComposeDemo) -> None:
    async with httpx2.AsyncClient(base_url=demo.address()) as client:
        answer = await client.post(
            "/issuer/token", data={"user": "root"}, headers={"Host": "attacker.example"}
        )
    assert answer.status_code == 400


async def account_named(client: httpx2.AsyncClient, name: str) -> str:
    answer = await client.get("/v1/accounts", params={"limit": 200})
    return str(next(item["id"] for item in answer.json()["items"] if item["name"] == name))


async def set_named(client: httpx2.AsyncClient, name: str) -> str:
    answer = await client.get("/v1/sets")
    return str(next(item["id"] for item in answer.json()["items"] if item["name"] == name))


async def request(client: httpx2.AsyncClient, account: str, set_id: str) -> str:
    body = {
        "targets": [{"account": account, "set": set_id}],
        "reason": "Restart the stuck shipping queue",
        "duration": "PT30M",
    }
    answer = await client.post("/v1/tickets", json=body, headers={"Idempotency-Key": "walk-through-1"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def approve(client: httpx2.AsyncClient, ticket: str) -> None:
    """Wait until the review waits for this person, read it and decide on what was read."""
    found: list[dict[str, Any]] = []

    async def is_waiting() -> bool:
        answer = await client.get("/v1/reviews")
        found[:] = [item for item in answer.json().get("items", ()) if item["ticket_id"] == ticket]
        return bool(found)

    await until(is_waiting, WITHIN_S, what="the review waits for this approver")
    review = await client.get(f"/v1/reviews/{found[0]['id']}")
    answer = await client.post(
        f"/v1/reviews/{found[0]['id']}/decisions",
        json={"verdict": "approve", "comment": "The queue is stuck indeed."},
        headers={"If-Match": review.headers["ETag"]},
    )
    assert answer.status_code == 201, answer.text


async def grant_is(client: httpx2.AsyncClient, ticket: str, state: str) -> bool:
    answer = await client.get(f"/v1/tickets/{ticket}")
    return [grant["state"] for grant in answer.json()["grants"]] == [state]


async def is_assigned(demo: ComposeDemo, account: str, user: str) -> bool:
    """As AWS's stand-in knows it, whatever the services say."""
    async with httpx2.AsyncClient(base_url=demo.address("SIMULATOR")) as client:
        answer = await client.get("/_sim/assignments")
    rows = answer.json()["assignments"]
    return any(row["account"] == account and row["principal_name"] == user for row in rows)


async def audit_tells(demo: ComposeDemo, ticket: str) -> None:
    wanted = {"ticket.submitted", "review.decided", "ticket.approved", "access.granted", "access.revoked"}

    async with demo.acting_as("aud") as aud:

        async def is_whole() -> bool:
            answer = await aud.get(f"/v1/audit/tickets/{ticket}")
            codes = [item["metadata"]["event_code"] for item in answer.json()["items"]]
            return wanted <= set(codes) and codes.count("review.decided") == 2

        await until(is_whole, WITHIN_S, what="the audit trail holds the whole story")


async def mailed(demo: ComposeDemo, addresses: set[str]) -> bool:
    async with httpx2.AsyncClient(base_url=demo.address("MAILBOX")) as client:
        answer = await client.get("/api/v1/messages", params={"limit": 200})
    return addresses <= {to["Address"] for mail in answer.json()["messages"] for to in mail["To"]}
