"""Operators' routes: what was sent and what was not, and trying again."""

import pytest

from local.issuer import DevelopmentIssuer
from services.notifier import views
from services.notifier.domain.delivery import State
from shared.contracts.notification import NotificationFailed, NotificationSent
from shared.foundation.clock import new_id
from tests.notifier.facts import TICKET, a_ticket, ticket_fact
from tests.notifier.post import Post
from tests.support.harness import said
from tests.support.http import api
from tests.support.organisation import user_id

ANOTHER = TICKET[:-1] + "2"


async def one_failed(post: Post) -> str:
    """Ann's mail was refused for good, bob's was sent; the id of ann's."""
    post.box.refuse(550, times=1, recipient="ann@example.com")
    await post.take(ticket_fact())
    await post.send_all()
    return str(await post.context.pool.fetchval("SELECT id FROM delivery WHERE state = 'failed'"))


async def test_list_deliveries_by_ticket_recipient_and_state(post: Post, issuer: DevelopmentIssuer) -> None:
    failed = await one_failed(post)
    await post.take(ticket_fact(whole=a_ticket(id=ANOTHER)))
    async with api(post.service, issuer, "root") as client:

        async def found(**query: str) -> list[tuple[str, str]]:
            answer = await client.get("/v1/deliveries", params=query)
            assert answer.status_code == 200
            return [(item["recipient"], item["state"]) for item in answer.json()["items"]]

        ann, bob = user_id("ann"), user_id("bob")
        assert len(await found()) == 4
        assert sorted(await found(ticket_id=TICKET)) == [(ann, "failed"), (bob, "sent")]
        assert await found(user_id=ann, state="pending") == [(ann, "pending")]
        assert await found(user_id="ann@example.com", state="pending") == [(ann, "pending")]
        assert await found(state="failed", ticket_id=ANOTHER) == []
        (item,) = (await client.get("/v1/deliveries", params={"state": "failed"})).json()["items"]
    assert item["id"] == failed
    assert (item["smtp_code"], item["attempts"], item["address"]) == (550, 1, "ann@example.com")
    assert item["template"] == "submitted"
    assert item["next_attempt_at"] is None


async def test_list_deliveries_pages_from_the_newest(post: Post, issuer: DevelopmentIssuer) -> None:
    for number in range(3):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))
    seen: list[str] = []
    async with api(post.service, issuer, "root") as client:
        cursor: str | None = None
        while True:
            query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/deliveries", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert len(seen) == 6
    assert seen == sorted(set(seen), reverse=True)


async def test_retry_of_a_failed_delivery_sends_it_with_the_same_message_id(
    post: Post, issuer: DevelopmentIssuer
) -> None:
    failed = await one_failed(post)
    async with api(post.service, issuer, "root") as client:
        for _ in range(2):
            answer = await client.post(f"/v1/deliveries/{failed}/retry", headers={"Idempotency-Key": "k1"})
            assert (answer.status_code, answer.json()) == (202, {"id": failed, "state": "pending"})
    await post.send_all()
    assert len(post.to("ann")) == 1
    (before,) = await said(post.service, NotificationFailed)
    after = [one for one in await said(post.service, NotificationSent) if "root" in one.why]
    assert isinstance(before, NotificationFailed)
    (lost,) = before.mails
    assert [one.mails[0].message_id for one in after if isinstance(one, NotificationSent)] == [
        lost.message_id
    ]
    async with api(post.service, issuer, "root") as client:
        answer = await client.post(f"/v1/deliveries/{failed}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_sent")


async def test_retry_of_a_waiting_delivery_makes_it_due_now(post: Post, issuer: DevelopmentIssuer) -> None:
    post.box.refuse(451, times=1, recipient="ann@example.com")
    await post.take(ticket_fact())
    await post.send_all()
    assert await post.send_all() == []
    waiting = await post.context.pool.fetchval("SELECT id FROM delivery WHERE state = 'pending'")
    async with api(post.service, issuer, "root") as client:
        assert (await client.post(f"/v1/deliveries/{waiting}/retry")).status_code == 202
    assert len(await post.send_all()) == 1


async def test_retry_of_an_unknown_delivery_answers_404(post: Post, issuer: DevelopmentIssuer) -> None:
    async with api(post.service, issuer, "root") as client:
        answer = await client.post(f"/v1/deliveries/{new_id()}/retry")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_unknown")
        assert (await client.post("/v1/deliveries/nonsense/retry")).status_code == 422


@pytest.mark.parametrize(
    ("user", "reading", "writing"),
    [("ann", 403, 403), ("carl", 403, 403), (None, 401, 401), ("root", 200, 404)],
)
async def test_routes_are_for_operators_only(
    post: Post, issuer: DevelopmentIssuer, user: str | None, reading: int, writing: int
) -> None:
    async with api(post.service, issuer, user) as client:
        assert (await client.get("/v1/deliveries")).status_code == reading
        assert (await client.post(f"/v1/deliveries/{new_id()}/retry")).status_code == writing


async def test_list_in_each_state_has_what_is_in_it(post: Post) -> None:
    await post.context.pool.execute(
        """
        INSERT INTO delivery (id, ticket_id, template, recipient, message_id, happened_at, state,
            next_attempt_at, give_up_at, created_at)
        SELECT gen_random_uuid(), state, 'approved', 'user-ann', 'm', now(), state, now(), now(), now()
        FROM unnest(ARRAY['pending', 'sent', 'failed']) AS state
        """
    )
    async with post.context.pool.acquire() as conn:
        for state in State:
            found = await views.deliveries(
                conn, ticket=None, recipient=None, state=state, after=None, limit=10
            )
            assert [one["ticket_id"] for one in found] == [state]
