"""One binding for five services: seen first anywhere, known everywhere, rebound by an administrator.

On a stack of its own: the provisioner is stopped, and an approver's sign-in replaced.
"""

from typing import Any

import pytest

from tests.support.person import Person
from tests.support.running import PATIENCE_S, REASON, Running, as_read, until
from tests.support.stack import data_folder, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

WHY = {"reason": "made anew in the identity provider, called back"}


def by_mail(running: Running, name: str) -> Person:
    """Somebody by the second issuer, where nobody has seen them."""
    address = running.stack.simulator.directory.find_user(name).email
    assert address is not None
    return running.mailed_person(address)


async def recorded(running: Running, code: str, user: str) -> list[dict[str, Any]]:
    """Records of one kind about a person, in the order of the log."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        page = await running.person("aud").get(f"/v1/audit/events?type={code}&limit=200")
        found[:] = [
            one for one in page["items"] if one["unmapped"]["jit"]["subject"] == running.user_id(user)
        ]
        return bool(found)

    await until(there, PATIENCE_S, what=f"{code} of {user} in the log")
    return found


async def test_one_binding_is_made_anywhere_holds_everywhere_and_can_be_replaced() -> None:
    with data_folder() as data:
        async with running_stack(data, embedded=True) as running:
            await _first_sight_through_the_ticket_service(running)
            await _rebinding_of_an_approver(running)
            await _provisioner_away(running)


async def _first_sight_through_the_ticket_service(running: Running) -> None:
    ticket = next(one for one in running.stack.services if one.name == "ticket")
    assert not ticket.context.policy.known().sign_ins.of(running.user_id("ann"))
    assert (await running.person("ann").call("GET", "/v1/tickets")).status_code == 200
    (bound,) = ticket.context.policy.known().sign_ins.of(running.user_id("ann"))
    (record,) = await recorded(running, "identity.bound", "ann")
    assert record["entity"]["data"]["sub"] == bound.sub
    for path in ("/v1/reviews", "/v1/grants", "/v1/me"):
        assert (await running.person("ann", sub="another").call("GET", path)).json()["code"] == (
            "identity_conflict"
        ), path
        assert (await running.person("ann").call("GET", path)).status_code == 200, "the real one is in"


async def _rebinding_of_an_approver(running: Running) -> None:
    asked = await running.submit("ann", (running.spare_account("standard"), "Administrator"), duration="PT1H")
    (review,) = await running.waiting_reviews("carl", asked["id"])
    anew = running.person("carl", sub="carl-anew")
    refused = await anew.call("GET", "/v1/reviews")
    assert (refused.status_code, refused.json()["code"]) == (403, "identity_conflict")
    await running.until_alerted(refused.json()["conflict_id"])
    await running.person("root").post(f"/v1/bindings/{refused.json()['conflict_id']}/rebind", WHY)

    old = await running.person("carl").call("GET", "/v1/reviews")
    assert (old.status_code, old.json()["code"]) == (403, "identity_replaced")
    vote = {"verdict": "approve", "comment": "looked at it"}
    path = f"/v1/reviews/{review['id']}/decisions"
    early = await anew.call("POST", path, vote, headers=as_read(review))
    assert (early.status_code, early.json()["code"]) == (403, "recently_rebound")
    assert (await anew.get("/v1/me"))["quiet_until"] is not None
    await running.until_mailed_person("carl", "Sign-in replaced")
    (record,) = await recorded(running, "identity.rebound", "carl")
    assert record["actor"]["user"]["name"] == "root"
    assert record["message"] == WHY["reason"]


async def _provisioner_away(running: Running) -> None:
    """Whom nobody has seen is refused and told what to call; what they may stop they stop."""
    asked = await running.submit("ann", (running.spare_account("standard"), "Administrator"), duration="PT1H")
    provisioner = next(one for one in running.stack.services if one.name == "provisioner")
    await provisioner.stop()
    unseen = by_mail(running, "ann")
    body = {"targets": [], "reason": REASON}
    for method, path in (("GET", "/v1/tickets"), ("POST", "/v1/tickets"), ("GET", "/v1/reviews")):
        answer = await unseen.call(method, path, body if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (403, "identity_unbound"), path
        assert "GET /v1/me" in answer.json()["detail"]
    stopped = await unseen.post(f"/v1/tickets/{asked['id']}/withdraw")
    assert stopped["state"] == "withdrawn"
    second = await running.person("ann", sub="another").call("POST", f"/v1/tickets/{asked['id']}/withdraw")
    assert second.json()["code"] == "identity_unbound", "who has a subject in this issuer has no other"
