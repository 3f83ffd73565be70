import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from local.issuer import DevelopmentIssuer
from services.ticket import background
from services.ticket.commands import timers
from shared.contracts.configuration import AuthzDenied, facts_of
from shared.contracts.documents import AccessScope
from shared.contracts.stop import TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    TicketClosed,
    TicketSubmitted,
    TicketTimedOut,
)
from shared.foundation.clock import ManualClock, new_id
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.builders import review_approved
from tests.support.harness import ready_tables, said
from tests.support.http import api
from tests.support.work import deliver

SCOPE_FACTS = facts_of(AccessScope)

BODY: dict[str, Any] = {
    "targets": [{"account": org.P, "set": org.ADMIN}],
    "duration": "PT1H",
    "reason": "restart the payment workers",
}


async def submitted(
    service: Service, issuer: DevelopmentIssuer, who: str = "ann", **more: Any
) -> dict[str, Any]:
    async with api(service, issuer, who) as client:
        answer = await client.post("/v1/tickets", json=BODY | more)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def approve_all(service: Service, ticket_id: str) -> None:
    """Let approval say yes to every target of a ticket."""
    fact = next(one for one in await said(service, TicketSubmitted) if one.subject == ticket_id)
    assert isinstance(fact, TicketSubmitted)
    for target in fact.ticket.targets:
        event = review_approved(fact.ticket, target, at=service.context.clock.now())
        await deliver(service, event)


async def test_submit_of_a_good_request_is_created_and_told(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "ann") as client:
        answer = await client.post("/v1/tickets", json=BODY)
        assert answer.status_code == 201
        assert answer.headers["ETag"] == '"1"'
        shown = await client.get(answer.headers["Location"])
    assert shown.json() == answer.json()
    assert shown.json()["state"] == "pending"
    assert (shown.json()["reason"], shown.json()["extensions"]) == (BODY["reason"], [])
    (target,) = shown.json()["targets"]
    assert (target["revision"], target["asked"]["duration"]) == (1, "PT1H")
    assert (target["reason"], target["expires_at"]) == (BODY["reason"], "2026-03-03T09:00:00Z")
    (fact,) = await said(service, TicketSubmitted)
    assert isinstance(fact, TicketSubmitted)
    assert (fact.actor.name, fact.actor.user_id, fact.why) == ("ann", org.user_id("ann"), BODY["reason"])
    assert fact.ticket.id == answer.json()["id"]
    assert fact.actor.ip == "127.0.0.1"


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"duration": "PT0S"}, "/duration", "duration_not_positive"),
        ({"duration": "P400D"}, "/duration", "duration_absurd"),
        ({"duration": None, "ends_at": "2020-01-01T00:00:00Z"}, "/ends_at", "end_in_past"),
        (
            {"duration": None, "starts_at": "2026-03-02T12:00:00Z", "ends_at": "2026-03-02T11:00:00Z"},
            "/ends_at",
            "end_before_start",
        ),
        ({"duration": "PT2H"}, "/targets/0", "not_permitted"),
        ({"reason": ""}, "/reason", "reason_too_short"),
        ({"reason": "key AKIAIOSFODNN7EXAMPLE for you"}, "/reason", "looks_secret"),
        ({"reason": "restart \u202e the workers"}, "/reason", "character_refused"),
        ({"reason": "restart \x07 the workers"}, "/reason", "character_refused"),
        ({"beneficiaries": ["nobody"]}, "/beneficiaries/0", "beneficiary_unknown"),
        ({"beneficiaries": ["gone"]}, "/beneficiaries/0", "beneficiary_unknown"),
        ({"targets": [{"account": "123"}]}, "/targets/0/account", "account_not_registered"),
        ({"targets": [{"account": ""}]}, "/targets/0/account", "too_short"),
        ({"targets": [{"account": org.P}]}, "/targets/0", "set_or_group"),
        (
            {"targets": [{"account": org.MANAGEMENT, "set": org.ADMIN}]},
            "/targets/0/account",
            "account_not_registered",
        ),
        ({"starts_at": "2026-03-02T12:00:00"}, "/starts_at", "moment_without_zone"),
        ({"surprise": 1}, "/surprise", "unknown_field"),
        ({"duraton": "PT1H"}, "/duraton", "unknown_field"),
        ({"duration": True}, "/duration", "duration_without_unit"),
        ({"duration": 3600}, "/duration", "duration_without_unit"),
        ({"duration": "P1M"}, "/duration", "duration_of_the_calendar"),
        ({"duration": "tomorrow"}, "/duration", "duration_invalid"),
    ],
)
async def test_submit_of_a_wrong_request_names_the_field(
    service: Service, issuer: DevelopmentIssuer, changes: dict[str, Any], field: str, code: str
) -> None:
    async with api(service, issuer, "ann") as client:
        answer = await client.post("/v1/tickets", json=BODY | changes)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (field, code) in [(one["field"], one["code"]) for one in answer.json()["errors"]]
    assert await said(service, TicketSubmitted) == []


async def test_submit_twice_with_one_idempotency_key_makes_one_ticket(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    headers = {"Idempotency-Key": new_id()}
    async with api(service, issuer, "ann", headers=headers) as client:
        first, second = await asyncio.gather(*(client.post("/v1/tickets", json=BODY) for _ in range(2)))
        other = await client.post("/v1/tickets", json=BODY | {"reason": "another reason entirely"})
    assert {first.status_code, second.status_code} == {201}
    assert first.json() == second.json()
    assert [r.headers.get("Idempotency-Replayed") for r in (first, second)].count("true") == 1
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert len(await said(service, TicketSubmitted)) == 1


async def test_submit_by_two_people_with_one_idempotency_key_makes_two_tickets(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    headers = {"Idempotency-Key": new_id()}
    answers = []
    for who in ("ann", "bob"):
        async with api(service, issuer, who, headers=headers) as client:
            answers.append(await client.post("/v1/tickets", json=BODY))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["requester"]["user_name"] for answer in answers] == ["ann", "bob"]
    assert len(await said(service, TicketSubmitted)) == 2


async def test_denied_request_becomes_a_fact(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "eve") as client:
        answer = await client.post("/v1/tickets", json=BODY)
    assert answer.json()["errors"][0]["code"] == "denied"
    (fact,) = await said(service, AuthzDenied)
    assert isinstance(fact, AuthzDenied)
    assert (fact.verb, fact.actor.name) == ("request", "eve")


async def test_preview_shows_stages_people_and_problems(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "ann") as client:
        good = (await client.post("/v1/tickets/preview", json=BODY)).json()
        bad = (await client.post("/v1/tickets/preview", json=BODY | {"duration": "PT9H"})).json()
    assert good["acceptable"]
    assert (good["duration"], good["targets"][0]["set"]["session_duration"]) == ("PT1H", "PT1H")
    names = [[one["user_name"] for one in stage["approvers"]] for stage in good["targets"][0]["stages"]]
    assert names == [["carl", "cora"], ["dora"]]
    assert not bad["acceptable"]
    assert bad["errors"][0]["code"] == "not_permitted"
    assert await said(service, TicketSubmitted) == []


async def test_preview_of_an_end_before_the_start_has_no_length(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "ann") as client:
        past = BODY | {"duration": None, "ends_at": "2020-01-01T00:00:00Z"}
        shown = (await client.post("/v1/tickets/preview", json=past)).json()
    assert (shown["acceptable"], shown["duration"]) == (False, None)


@pytest.mark.parametrize("sent", ["8h", "PT8H", "480m"])
async def test_preview_reads_a_length_as_people_write_it(
    service: Service, issuer: DevelopmentIssuer, sent: str
) -> None:
    async with api(service, issuer, "ann") as client:
        shown = (await client.post("/v1/tickets/preview", json=BODY | {"duration": sent})).json()
    assert shown["duration"] == "PT8H"


@pytest.mark.parametrize(
    ("who", "status"), [("ann", 200), ("carl", 200), ("dora", 200), ("root", 200), ("aud", 200), ("bob", 404)]
)
async def test_show_is_for_parties_approvers_and_readers_only(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    ticket = await submitted(service, issuer)
    async with api(service, issuer, who) as client:
        assert (await client.get(f"/v1/tickets/{ticket['id']}")).status_code == status


async def test_show_and_list_of_a_ticket_for_somebody_else_are_for_both(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(service, issuer, "bob", beneficiaries=["ann"])
    for who in ("ann", "bob"):
        async with api(service, issuer, who) as client:
            assert (await client.get(f"/v1/tickets/{ticket['id']}")).status_code == 200
            assert ticket["id"] in {one["id"] for one in (await client.get("/v1/tickets")).json()["items"]}


async def test_list_shows_own_tickets_in_pages_and_all_to_readers(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    for _ in range(3):
        await submitted(service, issuer)
    async with api(service, issuer, "ann") as client:
        first = (await client.get("/v1/tickets", params={"limit": 2})).json()
        rest = (await client.get("/v1/tickets", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        refused = await client.get("/v1/tickets", params={"mine": "false"})
        tampered = await client.get("/v1/tickets", params={"cursor": "x"})
    seen = [ticket["id"] for ticket in first["items"] + rest["items"]]
    assert len(first["items"]) == 2
    assert seen == sorted(seen, reverse=True)
    assert refused.status_code == 403
    assert tampered.status_code == 422
    async with api(service, issuer, "aud") as client:
        assert (await client.get("/v1/tickets")).json()["items"] == []
        everybody = (await client.get("/v1/tickets", params={"mine": "false", "account_id": org.P})).json()
    assert {ticket["id"] for ticket in everybody["items"]} >= set(seen)


async def test_withdraw_by_the_requester_drops_a_pending_ticket_once(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(service, issuer)
    async with api(service, issuer, "carl") as client:
        assert (await client.post(f"/v1/tickets/{ticket['id']}/withdraw")).status_code == 403
    async with api(service, issuer, "ann") as client:
        first = await client.post(f"/v1/tickets/{ticket['id']}/withdraw", json={"reason": "not needed"})
        second = await client.post(f"/v1/tickets/{ticket['id']}/withdraw")
    assert (first.status_code, first.json()["state"]) == (200, "withdrawn")
    assert (second.status_code, second.json()["code"]) == (409, "nothing_to_withdraw")
    (fact,) = await said(service, TicketWithdrawn)
    assert fact.why == "not needed"


async def test_withdraw_by_a_beneficiary_who_did_not_ask_is_refused(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(service, issuer, "bob", beneficiaries=["ann"])
    async with api(service, issuer, "ann") as client:
        refused = await client.post(f"/v1/tickets/{ticket['id']}/withdraw")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_requester")
    assert await said(service, TicketWithdrawn) == []


async def test_return_is_for_the_beneficiary_of_live_access(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(service, issuer)
    path = f"/v1/tickets/{ticket['id']}/return"
    async with api(service, issuer, "ann") as client:
        assert (await client.post(path)).status_code == 409
        await approve_all(service, ticket["id"])
        answer = await client.post(path)
    assert answer.json()["grants"][0]["state"] == "revoking"
    (fact,) = await said(service, TicketReturned)
    assert isinstance(fact, TicketReturned)
    assert fact.grant_ids == (ticket["grants"][0]["id"],)


async def test_terminate_ends_the_same_access_of_every_ticket(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    first, second = await submitted(service, issuer), await submitted(service, issuer)
    for ticket in (first, second):
        await approve_all(service, ticket["id"])
    async with api(service, issuer, "carl") as client:
        answer = await client.post(f"/v1/tickets/{first['id']}/terminate", json={"reason": "incident over"})
    assert answer.status_code == 202
    assert {one["ticket_id"] for one in answer.json()["ending"]} >= {first["id"], second["id"]}
    assert {fact.subject for fact in await said(service, TicketTerminated)} >= {first["id"], second["id"]}


async def test_terminate_of_one_persons_access_leaves_another_persons_on_the_same_account_alone(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    anns = await submitted(service, issuer)
    both = await submitted(service, issuer, "bob", beneficiaries=["ann", "bob"])
    for ticket in (anns, both):
        await approve_all(service, ticket["id"])
    async with api(service, issuer, "carl") as client:
        assert (await client.post(f"/v1/tickets/{anns['id']}/terminate")).status_code == 202
        after = (await client.get(f"/v1/tickets/{both['id']}")).json()
    assert {grant["beneficiary"]: grant["state"] for grant in after["grants"]} == {
        org.user_id("ann"): "revoking",
        org.user_id("bob"): "scheduled",
    }


async def test_terminate_of_two_targets_of_which_one_is_not_theirs_ends_neither(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    targets = [{"account": org.P, "set": org.ADMIN}, {"account": org.D, "set": org.ADMIN}]
    ticket = await submitted(service, issuer, targets=targets)
    await approve_all(service, ticket["id"])
    path, ids = f"/v1/tickets/{ticket['id']}/terminate", [target["id"] for target in ticket["targets"]]
    async with api(service, issuer, "carl") as client:
        refused = await client.post(path, json={"targets": ids})
        own = await client.post(path, json={"targets": ids[:1]})
    assert (refused.status_code, own.status_code) == (403, 202)
    assert [one["why"] for one in own.json()["remains"]] == ["you did not name this target"]
    facts = [fact for fact in await said(service, TicketTerminated) if fact.subject == ticket["id"]]
    assert [fact.version for fact in facts] == [4]


async def test_terminate_by_an_administrator_needs_no_policy_but_people(
    service: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    """Catalog and rules are not read yet: roles and the directory are enough to stop access."""
    ticket = await submitted(service, issuer)
    await approve_all(service, ticket["id"])
    service.context.tables = ready_tables(clock, {"provisioner": org.everything()["provisioner"]})
    assert not service.context.policy.ready
    path = f"/v1/tickets/{ticket['id']}/terminate"
    async with api(service, issuer, "carl") as client:
        assert (await client.post(path)).status_code == 503
    async with api(service, issuer, "root") as client:
        assert (await client.post(path)).status_code == 202
    assert ticket["id"] in {fact.subject for fact in await said(service, TicketTerminated)}


@pytest.mark.parametrize(
    ("who", "status"), [("ann", 403), ("bob", 404), ("aud", 403), ("root", 202), ("dora", 202)]
)
async def test_terminate_is_for_approvers_and_administrators(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    ticket = await submitted(service, issuer)
    await approve_all(service, ticket["id"])
    async with api(service, issuer, who) as client:
        answer = await client.post(f"/v1/tickets/{ticket['id']}/terminate")
    assert answer.status_code == status, answer.text


async def test_terminate_twice_is_accepted_while_access_may_live(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(service, issuer)
    await approve_all(service, ticket["id"])
    async with api(service, issuer, "root") as client:
        assert (await client.post(f"/v1/tickets/{ticket['id']}/terminate")).status_code == 202
        again = await client.post(f"/v1/tickets/{ticket['id']}/terminate")
    # What is being taken away may be stopped again: a stop is never refused while access may live.
    assert again.status_code == 202


async def test_two_terminations_at_once_of_overlapping_tickets_both_answer(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    tickets = [await submitted(service, issuer) for _ in range(3)]
    for ticket in tickets:
        await approve_all(service, ticket["id"])
    async with api(service, issuer, "root") as client:
        calls = [client.post(f"/v1/tickets/{ticket['id']}/terminate") for ticket in tickets]
        answers: list[httpx2.Response] = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {202}


async def test_time_out_ends_a_ticket_nobody_decided(
    service: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    ticket = await submitted(service, issuer)
    clock.advance(timedelta(hours=24) - timedelta(seconds=1))
    await background.run_once(service.context, timers.time_out_due)
    assert ticket["id"] not in {fact.subject for fact in await said(service, TicketTimedOut)}
    clock.advance(timedelta(seconds=1))
    while await background.run_once(service.context, timers.time_out_due):
        pass
    assert ticket["id"] in {fact.subject for fact in await said(service, TicketTimedOut)}
    clock.advance(timedelta(hours=1))
    while await background.run_once(service.context, timers.close_due):
        pass
    closed = {fact.subject for fact in await said(service, TicketClosed)}
    assert ticket["id"] not in closed, "nothing was ever granted that could close"
    async with api(service, issuer, "ann") as client:
        assert (await client.get(f"/v1/tickets/{ticket['id']}")).json()["state"] == "timed_out"


# the catalog

SCOPE = {
    "name": "temporary",
    "subjects": [f"group:{org.group_id('dev')}"],
    "accounts": f"acct:{org.D}",
    "sets": f"ps:{org.READ}",
    "max_duration": "PT1H",
}


async def test_scope_is_created_changed_with_its_etag_and_removed_for_ever(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    path = f"/v1/scopes/s-{new_id()[-12:]}"
    async with api(service, issuer, "root") as client:
        made = await client.put(path, json=SCOPE)
        blind = await client.put(path, json=SCOPE)
        stale = await client.put(path, json=SCOPE, headers={"If-Match": '"999999"'})
        changed = await client.put(
            path, json=SCOPE | {"name": "x"}, headers={"If-Match": made.headers["ETag"]}
        )
        gone = await client.delete(path, headers={"If-Match": changed.headers["ETag"]})
        again = await client.put(path, json=SCOPE)
    statuses = [answer.status_code for answer in (made, blind, stale, changed, gone, again)]
    assert statuses == [201, 428, 412, 200, 204, 409]
    assert made.headers["Jit-Revision"].startswith("catalog=")
    facts_said = await said(
        service,
        SCOPE_FACTS.registered,
        SCOPE_FACTS.changed,
        SCOPE_FACTS.removed,
    )
    assert [fact.TYPE for fact in facts_said] == [
        "scope.registered.v1",
        "scope.changed.v1",
        "scope.removed.v1",
    ]
    assert facts_said[1].before["name"] == "temporary"  # type: ignore[attr-defined]
    assert facts_said[1].after["name"] == "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("who", ["ann", "carl", "aud", None])
async def test_catalog_is_changed_by_administrators_only(
    service: Service, issuer: DevelopmentIssuer, who: str | None
) -> None:
    async with api(service, issuer, who) as client:
        answer = await client.put(f"/v1/accounts/{org.D}", json={})
    assert answer.status_code == (401 if who is None else 403)


@pytest.mark.parametrize(
    ("path", "body", "code", "field_code"),
    [
        (f"/v1/accounts/{org.MANAGEMENT}", {}, "account_invalid", "account_protected"),
        (f"/v1/accounts/{org.SUSPENDED}", {}, "account_invalid", "account_protected"),  # in the settings
        ("/v1/accounts/555555555555", {}, "account_invalid", "account_unknown"),
        ("/v1/accounts/12", {}, "request_invalid", "wrong_form"),
        ("/v1/sets/ps-0000000000000000", {}, "set_invalid", "set_unknown"),
        (f"/v1/sets/{org.LONG}", {}, "set_invalid", "long_session"),
        (
            "/v1/set-groups/new",
            {"name": "n", "sets": ["ps-0000000000000000"]},
            "set_group_invalid",
            "set_not_registered",
        ),
        ("/v1/scopes/new", SCOPE | {"subjects": ["*"]}, "scope_invalid", "subject_star"),
        ("/v1/scopes/new", SCOPE | {"accounts": "acct:555555555555"}, "scope_invalid", "account_unknown"),
        ("/v1/scopes/NOT-A-SLUG", SCOPE, "request_invalid", "wrong_form"),
    ],
)
async def test_catalog_refuses_what_does_not_fit(
    service: Service, issuer: DevelopmentIssuer, path: str, body: dict[str, Any], code: str, field_code: str
) -> None:
    async with api(service, issuer, "root") as client:
        answer = await client.put(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [one["code"] for one in answer.json()["errors"]] == [field_code]
