"""Trying to get access the wrong way through the HTTP API. Each attempt is refused, and AWS never asked."""

from typing import Any
from urllib.parse import quote

import pytest

from shared.foundation.clock import new_id
from tests.support.running import REASON, Running, as_read, until

pytestmark = pytest.mark.e2e


async def test_submit_with_fields_of_the_server_is_refused(running: Running) -> None:
    account = running.spare_account("standard")
    body = {"targets": [running.target(account, "Administrator")], "reason": REASON, "duration": "PT1H"}
    attempts: list[dict[str, Any]] = [
        {"state": "approved"},
        {"requester": running.user_id("root")},
        {"id": new_id()},
        {"grants": [{"beneficiary": running.user_id("eve")}]},
        {"revisions": {"rules": 0}},
        {"expires_at": "2099-01-01T00:00:00Z"},
        {"auto_approved_by": "sandbox"},
        {"targets": [{**running.target(account, "Administrator"), "state": "approved"}]},
        {"targets": [{**running.target(account, "Administrator"), "set_digest": "x"}]},
    ]
    for more in attempts:
        problem = await running.person("ann").post("/v1/tickets", {**body, **more}, status=422)
        assert {one["code"] for one in problem["errors"]} == {"unknown_field"}, more


async def test_vote_in_somebody_elses_name_is_refused(running: Running) -> None:
    account = running.spare_account("standard")
    ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    path = f"/v1/reviews/{review['id']}/decisions"
    ann = running.person("ann")
    names: list[dict[str, Any]] = [
        {"acting_for": running.user_id("carl")},
        {"voter": {"user_id": running.user_id("carl")}},
        {"stage": 2},
    ]
    for more in names:
        await ann.post(path, {"verdict": "approve", **more}, status=422, headers=as_read(review))
    for headers in [
        {"X-Forwarded-User": "carl"},
        {"X-User-Id": running.user_id("carl")},
        {"X-HTTP-Method-Override": "PUT"},
        {"X-Original-URL": "/v1/scopes"},
        {"Forwarded": "for=127.0.0.1;by=carl"},
        {"Cookie": f"access_token={running.person('carl').token}"},
    ]:
        sent = {**as_read(review), **headers}
        problem = await ann.post(path, {"verdict": "approve"}, status=403, headers=sent)
        assert problem["code"] == "self_approval", headers
    token = running.person("carl").token
    answer = await running.client.post(
        f"{path}?access_token={token}", json={"verdict": "approve"}, headers=as_read(review)
    )
    assert answer.status_code in {401, 422}, "a token in the address is no token, nor a parameter"
    twice = [("Authorization", f"Bearer {ann.token}"), ("Authorization", f"Bearer {token}")]
    answer = await running.client.post(
        path, json={"verdict": "approve"}, headers=[*twice, *as_read(review).items()]
    )
    assert answer.status_code in {401, 403}, "of two identities none counts, or the first"
    assert (await running.ticket(ticket["id"]))["state"] == "pending"


@pytest.mark.parametrize(
    "if_match", ["", '""', 'W/"1"', '"1", "2"', '"-1"', '"1"; "2"', "1", "*", "'*'", '"９"']
)
async def test_vote_on_an_unreadable_version_is_refused(running: Running, if_match: str) -> None:
    ticket = await running.submit("ann", ("ledger-prod", "Administrator"), duration="PT1H")
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    answer = await running.client.post(
        f"/v1/reviews/{review['id']}/decisions",
        json={"verdict": "approve"},
        headers=[
            (b"Authorization", f"Bearer {running.person('carl').token}".encode()),
            (b"If-Match", if_match.encode()),
        ],
    )
    assert answer.status_code in {400, 412, 428}, answer.text
    await running.person("ann").post(f"/v1/tickets/{ticket['id']}/withdraw")


async def test_other_peoples_tickets_are_not_there(running: Running) -> None:
    account = running.spare_account("standard")
    ticket = await running.submit("ann", (account, "Administrator"), duration="PT1H")
    (review,) = await running.waiting_reviews("carl", ticket["id"])
    eve, key = running.person("eve"), ticket["id"]
    for method, path in [
        ("GET", f"/v1/tickets/{key}"),
        ("POST", f"/v1/tickets/{key}/withdraw"),
        ("POST", f"/v1/tickets/{key}/return"),
        ("POST", f"/v1/tickets/{key}/terminate"),
        ("GET", f"/v1/tickets/{key}/reviews"),
        ("GET", f"/v1/reviews/{review['id']}"),
        ("GET", f"/v1/grants/{ticket['grants'][0]['id']}"),
        ("GET", f"/v1/audit/tickets/{key}"),
        ("GET", f"/v1/tickets/{new_id()}"),
    ]:
        assert (await eve.call(method, path)).status_code == 404, path
    assert not [one for one in (await eve.get("/v1/tickets?limit=200"))["items"] if one["id"] == key]
    assert not (await eve.get(f"/v1/grants?user_id={running.user_id('ann')}"))["items"]
    for path in ("/v1/tickets?mine=false", "/v1/deliveries", "/v1/audit/events", "/v1/operations"):
        assert (await eve.call("GET", path)).status_code == 403, path

    async def denied() -> bool:
        return "authz.denied" in await running.codes(key)

    await until(denied, what="who was refused is in the log")


async def test_paths_that_only_look_like_others_lead_nowhere(running: Running) -> None:
    ann = running.person("ann")
    for path in [
        "/v1/tickets/../scopes",
        "/v1//scopes",
        "/V1/scopes",
        "/v1/scopes/",
        "/v1/scopes%2f",
        "/v1/tickets/..%2f..%2fv1%2fscopes",
        "/ticket/v1/scopes",
        "/approval/v1/rules",
        "/v1/tickets/%00",
        f"/v1/tickets/{quote(chr(0x202E))}",
        "/v1/tickets/1' OR '1'='1",
        f"/v1/tickets/{'9' * 5000}",
        "/v1/audit/tickets/%27%3B--",
    ]:
        answer = await ann.call("GET", path)
        assert 300 <= answer.status_code < 500, (path, answer.status_code, answer.text[:200])
    for path in ["/v1/tickets?cursor=x", "/v1/tickets?limit=-1", "/v1/tickets?limit=100000"]:
        assert (await ann.call("GET", path)).status_code == 422, path


@pytest.mark.parametrize(
    "length", ["-PT1H", "-1", "0", "1e400", "NaN", "PT1H-P1D", "P1Y", "infinity", 10**30]
)
async def test_submit_for_an_odd_length_is_refused_or_as_short_as_it_says(
    running: Running, length: str | int
) -> None:
    body = {
        "targets": [running.target("catalog-prod", "Administrator")],
        "reason": REASON,
        "duration": length,
    }
    await running.person("ann").post("/v1/tickets", body, status=422)


@pytest.mark.parametrize(
    "window",
    [
        {"ends_at": "2030-01-01T00:00:00"},
        {"ends_at": 4102444800},
        {"ends_at": "0001-01-01T00:00:00+14:00"},
        {"ends_at": "9999-12-31T23:59:59-14:00"},
        {"starts_at": "9999-12-31T23:59:59-14:00", "duration": "PT1H"},
        {"starts_at": "0001-01-01T00:00:00+14:00", "ends_at": "9999-12-31T23:59:59-14:00"},
    ],
    ids=str,
)
async def test_submit_for_an_odd_time_is_refused(running: Running, window: dict[str, Any]) -> None:
    body = {"targets": [running.target("catalog-prod", "Administrator")], "reason": REASON, **window}
    await running.person("ann").post("/v1/tickets", body, status=422)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_moment_beyond_the_calendar_is_refused_wherever_one_is_asked_for(
    running: Running, moment: str
) -> None:
    root, aud, sent = running.person("root"), running.person("aud"), quote(moment)
    scope = {
        "name": "Beyond",
        "subjects": [f"user:{running.user_id('eve')}"],
        "accounts": "*",
        "sets": "*",
        "max_duration": "PT1H",
    }
    answers = [
        await aud.call("GET", f"/v1/audit/events?since={sent}"),
        await aud.call("GET", f"/v1/audit/export?until={sent}"),
        await root.call("POST", "/v1/ops/audit/outbox/replay", {"since": moment}),
        await root.call("PUT", "/v1/scopes/beyond", {**scope, "valid_from": moment}),
        await root.call("PUT", "/v1/scopes/beyond", {**scope, "valid_until": moment}),
    ]
    assert [one.status_code for one in answers] == [422] * len(answers), [one.text for one in answers]


async def test_window_in_another_zone_is_the_same_moment(running: Running) -> None:
    """An end written with an offset must not be longer than the scope allows."""
    now = running.clock.now()
    from_now = now.timestamp() + 3600 * 3
    end = now.fromtimestamp(from_now, tz=now.tzinfo).replace(tzinfo=None).isoformat()
    body = {"targets": [running.target("catalog-prod", "Administrator")], "reason": REASON}
    ann = running.person("ann")
    for offset in ("+00:00", "-12:00", "+01:00"):
        problem = await ann.post("/v1/tickets", {**body, "ends_at": f"{end}{offset}"}, status=422)
        assert {one["code"] for one in problem["errors"]} == {"not_permitted"}, offset


@pytest.mark.parametrize(
    "name", ["ann\u0000", "ann ", "ANN\u202e", "а\u006en", "../ann", "*", "%", "ann,bob"]
)
async def test_submit_for_a_name_that_only_looks_like_one_is_refused(running: Running, name: str) -> None:
    body = {
        "targets": [running.target("orders-dev", "Developer")],
        "reason": REASON,
        "duration": "PT1H",
        "beneficiaries": [name],
    }
    answer = await running.person("bob").call("POST", "/v1/tickets", body)
    assert answer.status_code in {400, 422}, answer.text


async def test_submit_huge_lists_is_refused_at_once(running: Running) -> None:
    one = running.target("orders-dev", "Developer")
    bob = running.person("bob")
    body = {"reason": REASON, "duration": "PT1H"}
    too_many = {**body, "targets": [one] * 201}
    await bob.post("/v1/tickets", too_many, status=422)
    await bob.post("/v1/tickets", {**body, "targets": [one], "beneficiaries": ["ann"] * 201}, status=422)
    # Named often, counted once: the same pair is one grant.
    account = running.spare_account("sandbox")
    often = {**body, "targets": [running.target(account, "Developer")] * 60, "beneficiaries": ["ann"] * 60}
    ticket = await bob.post("/v1/tickets", often, status=201)
    assert len(ticket["grants"]) == 1


async def test_request_for_oneself_by_another_name_does_not_let_one_approve(running: Running) -> None:
    """Who asks for ann and is an approver of development too."""
    account = running.spare_account("nonprod")
    ticket = await running.submit(
        "bob", (account, "Developer"), beneficiaries=[running.user_id("ann")], duration="PT1H"
    )
    (review,) = await running.waiting_reviews(running.approver_of_development(), ticket["id"])
    for who in ("bob", "ann"):
        problem = await running.person(who).post(
            f"/v1/reviews/{review['id']}/decisions",
            {"verdict": "approve"},
            status=403,
            headers=as_read(review),
        )
        assert problem["code"] == "self_approval"


async def test_administrator_neither_requests_nor_approves(running: Running) -> None:
    account = running.spare_account("sandbox")
    problem = await running.submit("root", (account, "Administrator"), duration="PT1H", status=422)
    assert {one["code"] for one in problem["errors"]} == {"not_permitted"}
    dev = running.spare_account("nonprod")
    ticket = await running.submit("ann", (dev, "Developer"), duration="PT1H")
    (review,) = await running.waiting_reviews("bob", ticket["id"])
    await running.person("root").post(
        f"/v1/reviews/{review['id']}/decisions",
        {"verdict": "approve"},
        status=403,
        headers=as_read(review),
    )


async def test_configuration_is_for_administrators_only(running: Running) -> None:
    scope = {
        "name": "Mine",
        "subjects": [f"user:{running.user_id('eve')}"],
        "accounts": "*",
        "sets": "*",
        "max_duration": "P1D",
    }
    rule = {"name": "Mine", "accounts": "*", "sets": "*", "stages": [], "auto_approve_up_to": "P1D"}
    account = running.account_id("orders-prod")
    for who in ("eve", "bob", "carl", "dora", "aud"):
        person = running.person(who)
        for method, path, body in [
            ("PUT", "/v1/scopes/mine", scope),
            ("DELETE", "/v1/scopes/no-contractors-on-prod", None),
            ("PUT", "/v1/rules/mine", rule),
            ("DELETE", "/v1/rules/prod", None),
            ("PUT", f"/v1/accounts/{account}", {}),
            ("DELETE", f"/v1/accounts/{account}", None),
            ("PUT", "/v1/set-groups/read", {"name": "Looking", "sets": [running.set_id("Administrator")]}),
            ("POST", "/v1/inventory/confirm", {"hold": "x", "reason": "They are gone indeed"}),
            ("POST", "/v1/ops/ticket/outbox/replay", {"since": "2020-01-01T00:00:00Z"}),
            ("POST", "/v1/ops/ticket/documents/republish", None),
        ]:
            answer = await person.call(method, path, body, headers={"If-Match": "*"})
            assert answer.status_code == 403, (who, method, path, answer.text)


async def test_rule_that_approves_everything_by_itself_cannot_be_written(running: Running) -> None:
    root = running.person("root")
    rule = {"name": "Open", "sets": "*", "auto_approve_up_to": "P1D"}
    for accounts in ("tag:env=prod", "tag:env=dev"):
        answer = await root.call("PUT", "/v1/rules/open", {**rule, "accounts": accounts})
        assert answer.status_code == 422, "tags are changed by many hands"
