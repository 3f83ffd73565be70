import asyncio
from typing import Any

import pytest

from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule
from shared.database.pool import transaction
from shared.documents.document_store import get
from shared.foundation.clock import ManualClock
from shared.runtime.service import Service
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import said

RULE_FACTS = facts_of(ApprovalRule)

RULE: dict[str, Any] = {
    "name": "cards",
    "accounts": f"acct:{org.S}",
    "sets": f"ps:{org.ADMIN}",
    "stages": [{"approvers": [f"group:{org.group_id('owners-prod')}"], "needed": 2, "denials": 2}],
}


async def test_define_rule_is_created_published_and_told(desk: Desk, service: Service) -> None:
    answer = await desk.put("root", "/v1/rules/cards", RULE)
    assert answer.status_code == 201, answer.text
    revision = answer.json()["revision"]
    assert answer.headers["ETag"] == f'"{revision}"'
    assert answer.headers["Jit-Revision"] == f"rules={revision}"
    (fact,) = await said(service, RULE_FACTS.registered)
    assert isinstance(fact, RULE_FACTS.registered)
    assert (fact.subject, fact.document, fact.revision, fact.before) == (
        "cards",
        "rule/cards",
        revision,
        None,
    )
    assert fact.after == answer.json() | {"deleted": False}
    assert (fact.actor.name, fact.actor.user_id) == ("root", org.user_id("root"))
    assert await service.context.pool.fetchval("SELECT count(*) FROM outbox WHERE key = 'rule/cards'") == 1
    shown = await desk.get("root", "/v1/rules/cards")
    assert (shown.json(), shown.headers["ETag"]) == (answer.json(), answer.headers["ETag"])


async def test_define_rule_again_replaces_what_was_read(desk: Desk, service: Service) -> None:
    created = await desk.put("root", "/v1/rules/cards", RULE)
    answer = await desk.put(
        "root", "/v1/rules/cards", RULE | {"always": True}, If_Match=created.headers["ETag"]
    )
    assert answer.status_code == 200
    (fact,) = await said(service, RULE_FACTS.changed)
    assert isinstance(fact, RULE_FACTS.changed)
    assert fact.before == created.json() | {"deleted": False}
    assert fact.after == answer.json() | {"deleted": False}
    assert answer.json()["revision"] > created.json()["revision"]


async def test_define_rule_that_says_the_same_changes_nothing(desk: Desk, service: Service) -> None:
    created = await desk.put("root", "/v1/rules/cards", RULE)
    again = await desk.put("root", "/v1/rules/cards", RULE, If_Match=created.headers["ETag"])
    assert (again.status_code, again.headers["ETag"]) == (200, created.headers["ETag"])
    assert await said(service, RULE_FACTS.changed) == []


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("prod", {}, 428, "if_match_missing"),
        ("prod", {"If_Match": '"999"'}, 412, "document_changed"),
        ("prod", {"If_None_Match": "*"}, 412, "document_exists"),
        ("prod", {"If_Match": "1"}, 400, "if_match_invalid"),
        ("prod", {"If_Match": "*"}, 200, None),
        ("new", {"If_Match": '"1"'}, 412, "document_changed"),
        ("new", {"If_Match": "*"}, 412, "document_changed"),
        ("new", {"If_None_Match": '"1"'}, 400, "if_none_match_invalid"),
        ("new", {"If_None_Match": "*"}, 201, None),
        ("new", {}, 201, None),
    ],
)
async def test_define_rule_keeps_its_preconditions(
    desk: Desk, path: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    answer = await desk.put("root", f"/v1/rules/{path}", RULE, **headers)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


async def test_define_rule_two_at_once_on_one_revision_change_it_once(desk: Desk, service: Service) -> None:
    tag = (await desk.put("root", "/v1/rules/cards", RULE)).headers["ETag"]
    async with transaction(service.context.pool) as conn:
        await conn.execute("SELECT revision FROM document_counter FOR UPDATE")
        both = asyncio.gather(
            *(desk.put("root", "/v1/rules/cards", RULE | {"name": name}, If_Match=tag) for name in ("a", "b"))
        )
        async with asyncio.timeout(20):
            # Until both have read the rule and want to write it; asked outside, since a transaction sees
            # one state of the server's activity only.
            while await service.context.pool.fetchval(WAITING) < 2:  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0)
    assert sorted(answer.status_code for answer in await both) == [200, 412]


WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def test_define_rule_with_several_problems_names_all_of_them(desk: Desk, service: Service) -> None:
    bad = {
        "name": "bad",
        "accounts": "acct:1",
        "sets": "ps-1",
        "stages": [{"approvers": []}, {"approvers": ["*", "group:nobody"]}],
        "auto_approve_up_to": "PT4H",
    }
    answer = await desk.put("root", "/v1/rules/bad", bad)
    assert (answer.status_code, answer.json()["code"]) == (422, "rule_invalid")
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields >= {
        "/accounts", "/sets", "/stages/0/approvers", "/stages/1/approvers/0", "/stages/1/approvers/1",
        "/auto_approve_up_to",
    }  # fmt: skip
    assert all(error["detail"] for error in answer.json()["errors"])
    assert await said(service, RULE_FACTS.registered) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "/name"),
        ({"name": "   "}, "/name"),
        ({"name": "a\x07"}, "/name"),
        ({"stages": [{"approvers": ["group:x"], "needed": 0}]}, "/stages/0/needed"),
        ({"stages": [{"approvers": ["group:x"], "denials": 0}]}, "/stages/0/denials"),
        ({"stages": [{"approvers": ["group:x"], "timeout": "PT1H"}]}, "/stages/0/timeout"),
        ({"priority": 1}, "/priority"),
        ({"accounts": f"acct:{'1' * 11}2"}, "/accounts"),
        ({"accounts": "ou:ou-nowhere"}, "/accounts"),
        ({"sets": "ps:ps-unknown"}, "/sets"),
        ({"stages": []}, "/stages"),
        ({"stages": [], "accounts": "*", "auto_approve_up_to": "PT1H"}, "/auto_approve_up_to"),
        ({"stages": [], "accounts": "tag:env=prod", "auto_approve_up_to": "PT1H"}, "/auto_approve_up_to"),
        ({"stages": [{"approvers": [f"group:{org.group_id('secops')}"], "needed": 2}]}, "/stages/0/needed"),
    ],
)
async def test_define_rule_with_one_problem_names_its_field(
    desk: Desk, changes: dict[str, Any], field: str
) -> None:
    answer = await desk.put("root", "/v1/rules/cards", RULE | changes)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("rule_id", ["Prod", "-a", "a-", "a_b", "a" * 64])
async def test_define_rule_under_an_id_that_is_no_slug_is_refused(desk: Desk, rule_id: str) -> None:
    answer = await desk.put("root", f"/v1/rules/{rule_id}", RULE)
    assert answer.status_code == 422


async def test_remove_rule_is_told_and_its_id_is_never_used_again(desk: Desk, service: Service) -> None:
    tag = (await desk.put("root", "/v1/rules/cards", RULE)).headers["ETag"]
    answer = await desk.delete("root", "/v1/rules/cards", If_Match=tag)
    assert answer.status_code == 204
    assert answer.headers["Jit-Revision"].startswith("rules=")
    (fact,) = await said(service, RULE_FACTS.removed)
    assert isinstance(fact, RULE_FACTS.removed)
    assert fact.before is not None
    assert (fact.before["name"], fact.after) == ("cards", None)
    assert (await desk.get("root", "/v1/rules/cards")).status_code == 404
    again = await desk.put("root", "/v1/rules/cards", RULE)
    assert (again.status_code, again.json()["code"]) == (409, "id_reused")


@pytest.mark.parametrize(
    ("rule_id", "headers", "status"),
    [("prod", {}, 428), ("prod", {"If_Match": '"99"'}, 412), ("unknown", {"If_Match": "*"}, 404)],
)
async def test_remove_rule_keeps_its_preconditions(
    desk: Desk, service: Service, rule_id: str, headers: dict[str, str], status: int
) -> None:
    assert (await desk.delete("root", f"/v1/rules/{rule_id}", **headers)).status_code == status
    async with transaction(service.context.pool) as conn:
        assert await get(conn, ApprovalRule, "prod") is not None


async def test_list_rules_in_pages_by_id(desk: Desk) -> None:
    first = (await desk.get("aud", "/v1/rules", limit=2)).json()
    assert [rule["id"] for rule in first["items"]] == ["dev", "dev-read"]
    second = (await desk.get("aud", "/v1/rules", limit=2, cursor=first["next_cursor"])).json()
    assert ([rule["id"] for rule in second["items"]], second["next_cursor"]) == (["prod"], None)


@pytest.mark.parametrize(
    ("who", "reads", "writes"),
    [("root", 200, 201), ("aud", 200, 403), ("ann", 403, 403), ("carl", 403, 403), ("gone", 403, 403)],
)
async def test_rules_are_for_those_who_have_the_right(desk: Desk, who: str, reads: int, writes: int) -> None:
    assert (await desk.get(who, "/v1/rules")).status_code == reads
    assert (await desk.get(who, "/v1/rules/prod")).status_code == reads
    assert (await desk.put(who, "/v1/rules/cards", RULE)).status_code == writes
    removed = await desk.delete(who, "/v1/rules/prod", If_Match="*")
    assert removed.status_code == (204 if writes == 201 else 403)


async def test_rules_cannot_be_written_on_stale_documents(desk: Desk, clock: ManualClock) -> None:
    desk.service.context.policy._stale_after = desk.service.context.policy._stale_after.resolution
    clock.advance(desk.service.context.policy._stale_after * 2)
    answer = await desk.put("root", "/v1/rules/cards", RULE)
    assert (answer.status_code, answer.json()["code"]) == (503, "tables_stale")
