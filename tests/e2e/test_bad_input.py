"""Bad requests over HTTP: each gets its clear answer, and nothing becomes of it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.foundation.clock import new_id
from tests.support.running import REASON, Running, as_read

pytestmark = pytest.mark.e2e

Change = Callable[[Running], dict[str, Any]]


def _in(running: Running, **time: float) -> str:
    return (running.clock.now() + timedelta(**time)).isoformat()


def _accounts(running: Running, *names: str) -> list[dict[str, str]]:
    return [running.target(name, "Developer") for name in names]


REFUSED: list[tuple[str, Change, str]] = [
    (
        "end before start",
        lambda it: {"starts_at": _in(it, hours=2), "ends_at": _in(it, hours=1)},
        "end_before_start",
    ),
    ("end in the past", lambda it: {"ends_at": _in(it, hours=-1)}, "end_in_past"),
    (
        "start in the past",
        lambda it: {"starts_at": _in(it, hours=-1), "duration": "PT2H"},
        "start_in_past",
    ),
    ("start too far ahead", lambda it: {"starts_at": _in(it, days=400)}, "start_too_far"),
    ("zero duration", lambda _: {"duration": "PT0S"}, "duration_not_positive"),
    ("absurd duration", lambda _: {"duration": "P999D"}, "duration_absurd"),
    ("duration beyond the scope", lambda _: {"duration": "PT9H"}, "not_permitted"),
    ("end and duration", lambda it: {"ends_at": _in(it, hours=1), "duration": "PT1H"}, "end_and_duration"),
    (
        "unknown account",
        lambda it: {"targets": [{**it.target("orders-dev", "Developer"), "account": "000000000000"}]},
        "account_not_registered",
    ),
    (
        "management account",
        lambda it: {"targets": [it.target("management", "ReadOnly")]},
        "account_not_registered",
    ),
    (
        "suspended account",
        lambda it: {"targets": [it.target("old-webshop", "ReadOnly")]},
        "account_not_registered",
    ),
    (
        "unknown set",
        lambda it: {"targets": [{"account": it.account_id("orders-dev"), "set": "ps-0"}]},
        "set_not_registered",
    ),
    (
        "unregistered set",
        lambda it: {"targets": [it.target("orders-dev", "Workplace")]},
        "set_not_registered",
    ),
    (
        "unknown group of sets",
        lambda it: {"targets": [{"account": it.account_id("orders-dev"), "set_group": "nobody"}]},
        "set_group_unknown",
    ),
    (
        "set and group of sets",
        lambda it: {"targets": [{**it.target("orders-dev", "Developer"), "set_group": "read"}]},
        "set_or_group",
    ),
    ("empty reason", lambda _: {"reason": " \t "}, "reason_too_short"),
    ("short reason", lambda _: {"reason": "please"}, "reason_too_short"),
    ("secret in the reason", lambda _: {"reason": "key is AKIAIOSFODNN7EXAMPLE, thanks"}, "looks_secret"),
    ("secret in the reference", lambda _: {"reference": "password=correct-horse"}, "looks_secret"),
    ("unknown beneficiary", lambda _: {"beneficiaries": ["nobody.atall"]}, "beneficiary_unknown"),
    ("disabled beneficiary", lambda _: {"beneficiaries": ["leaver"]}, "beneficiary_unknown"),
    ("for others without the right", lambda _: {"beneficiaries": ["bob"]}, "beneficiary_unknown"),
    (
        "denied by a scope",
        lambda it: {"targets": [it.target("payments-prod", "Administrator")], "duration": "PT1H"},
        "denied",
    ),
    (
        "no rule",
        lambda it: {"targets": [it.target("sandbox-01", "Developer")], "duration": "P1D"},
        "no_rule",
    ),
]


@pytest.mark.parametrize(("change", "code"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
async def test_submit_wrong_request_is_refused_with_its_field(
    running: Running, change: Change, code: str
) -> None:
    body = {"targets": _accounts(running, "orders-dev"), "reason": REASON, "duration": "PT1H"}
    changed = change(running)
    if {"starts_at", "ends_at"} & set(changed):
        del body["duration"]
    ann, reference = running.person("ann"), f"JIT-{new_id()}"
    body["reference"] = reference
    problem = await ann.post("/v1/tickets", {**body, **changed}, status=422)
    assert code in {one["code"] for one in problem["errors"]}, problem
    assert all(one["field"].startswith("/") and one["detail"] for one in problem["errors"])
    preview = await ann.post("/v1/tickets/preview", {**body, **changed})
    assert not preview["acceptable"]
    assert {one["code"] for one in preview["errors"]} == {one["code"] for one in problem["errors"]}
    newest = await ann.get("/v1/tickets?limit=50")
    assert reference not in {one["reference"] for one in newest["items"]}


async def test_submit_for_over_fifty_grants_is_refused(running: Running) -> None:
    directory = running.stack.simulator.directory
    dev = directory.find_parent("dev")
    names = [one.name for one in directory.accounts.values() if one.parent == dev][:26]
    problem = await running.submit(
        "bob", *((name, "Developer") for name in names), status=422, beneficiaries=["ann", "eve"]
    )
    assert [one["code"] for one in problem["errors"]] == ["too_many_grants"]


async def test_submit_what_nobody_could_approve_is_refused(running: Running) -> None:
    account = running.spare_account("sandbox")
    selectors = {
        "accounts": f"acct:{running.account_id(account)}",
        "sets": f"ps:{running.set_id('Deployer')}",
    }
    only_carl = [{"approvers": [f"user:{running.user_id('carl')}"], "needed": 1}]
    root = running.person("root")
    rule = await root.put("/v1/rules/only-carl", {"name": "Only Carl", **selectors, "stages": only_carl})
    scope = await root.put(
        "/v1/scopes/carl-deploys",
        {
            "name": "Carl deploys",
            "subjects": [f"user:{running.user_id('carl')}"],
            **selectors,
            "max_duration": "PT1H",
        },
    )
    seen = f"{rule.headers['Jit-Revision']},{scope.headers['Jit-Revision']}"
    problem = await running.person("carl").post(
        "/v1/tickets",
        {"targets": [running.target(account, "Deployer")], "reason": REASON, "duration": "PT1H"},
        status=422,
        headers={"Jit-Min-Revision": seen},
    )
    assert [one["code"] for one in problem["errors"]] == ["unapprovable"]


async def test_register_management_account_is_refused(running: Running) -> None:
    root = running.person("root")
    for account in ("management", "identity"):
        answer = await root.call("PUT", f"/v1/accounts/{running.account_id(account)}", {})
        assert answer.status_code == 422
        assert {one["code"] for one in answer.json()["errors"]} == {"account_protected"}


async def test_same_request_twice_is_one_ticket(running: Running) -> None:
    account = running.spare_account("nonprod")
    body = {"targets": [running.target(account, "Developer")], "reason": REASON, "duration": "PT1H"}
    ann, key = running.person("ann"), {"Idempotency-Key": new_id()}
    first, *others = await asyncio.gather(
        *(ann.post("/v1/tickets", body, status=201, headers=key) for _ in range(5))
    )
    assert {one["id"] for one in others} == {first["id"]}
    changed = {**body, "duration": "PT2H"}
    problem = await ann.post("/v1/tickets", changed, status=409, headers=key)
    assert problem["code"] == "idempotency_key_reused"
    theirs = await running.person("eve").post("/v1/tickets", body, status=201, headers=key)
    assert theirs["id"] != first["id"], "a key is its caller's own"
    assert theirs["requester"]["user_name"] == "eve"


async def test_vote_that_does_not_count_is_refused_with_its_reason(running: Running) -> None:
    account = running.spare_account("standard")
    ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    path = f"/v1/reviews/{review['id']}/decisions"

    async def vote(who: str, status: int, **body: Any) -> str:
        given = {"verdict": "approve", "comment": "looked at it", **body}
        now = await running.person("root").get(f"/v1/reviews/{review['id']}")
        answer = await running.person(who).post(path, given, status=status, headers=as_read(now))
        return str(answer.get("code"))

    assert await vote("ann", 403) == "self_approval"
    assert await vote("eve", 404) == "review_unknown"
    assert await vote("root", 403) == "no_rule"
    assert await vote("dora", 403) == "no_rule", "the second stage is not open yet"
    assert await vote("carl", 422, verdict="reject", comment="") == "comment_required"
    without = await running.person("carl").post(path, {"verdict": "approve"}, status=428)
    assert without["code"] == "if_match_missing"
    unread = await running.person("carl").post(
        path, {"verdict": "approve"}, status=428, headers={"If-Match": "*"}
    )
    assert unread["code"] == "if_match_star"
    stale = await running.person("carl").post(
        path, {"verdict": "approve"}, status=412, headers={"If-Match": '"999"'}
    )
    assert stale["code"] == "review_changed"
    assert await vote("carl", 201)
    assert await vote("carl", 409) == "already_acted"
    assert await vote("cora", 403) == "no_rule", "her stage is over"
    assert await vote("dora", 201)
    assert await vote("dirk", 409) == "review_decided"
    await running.until_state(ticket["id"], "active")


RAW: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("not JSON", b"{", {"Content-Type": "application/json"}, 400, "json_invalid"),
    ("no body", b"", {"Content-Type": "application/json"}, 422, "request_invalid"),
    ("not UTF-8", b'{"reason": "\xff"}', {"Content-Type": "application/json"}, 400, "not_utf8"),
    ("deep nesting", b"[" * 100_000, {"Content-Type": "application/json"}, 400, "json_invalid"),
    ("a list", b"[]", {"Content-Type": "application/json"}, 422, "request_invalid"),
    ("a form", b"reason=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "not_json"),
    ("no content type", b"{}", {}, 415, "not_json"),
    ("NUL", b'{"reason": "a\\u0000b"}', {"Content-Type": "application/json"}, 400, "nul_character"),
    (
        "ten megabytes",
        b'{"reason": "' + b"x" * 10_000_000 + b'"}',
        {"Content-Type": "application/json"},
        413,
        "body_too_large",
    ),
]


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"), [one[1:] for one in RAW], ids=[one[0] for one in RAW]
)
async def test_post_unreadable_body_is_refused_by_every_service(
    running: Running, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    token = running.person("root").token
    for path in ("/v1/tickets", f"/v1/reviews/{new_id()}/decisions", "/v1/revocations"):
        answer = await running.client.post(
            path,
            content=content,
            headers={"Authorization": f"Bearer {token}", "If-Match": '"1"', **headers},
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text[:300])
        assert answer.headers["content-type"].startswith("application/problem+json")


async def test_post_ten_megabytes_in_chunks_is_cut_off(running: Running) -> None:
    async def chunks() -> Any:
        for _ in range(160):
            yield b"x" * 65_536

    headers = {
        "Authorization": f"Bearer {running.person('ann').token}",
        "Content-Type": "application/json",
    }
    answer = await running.client.post("/v1/tickets", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
