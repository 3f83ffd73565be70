"""The kinds of documents the ticket service owns, over HTTP: shown in one shape, and planned."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.issuer import DevelopmentIssuer
from shared.configuration.kinds.sensitive_mark import SensitiveMark
from shared.contracts.configuration import facts_of
from shared.contracts.documents import Account, PermissionSet
from shared.database.pool import create_pool
from shared.documents import document_store
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.harness import NOW, publish, said, service_database
from tests.support.http import api
from tests.support.units import unit
from tests.ticket.test_http import BODY, SCOPE


@pytest.fixture(scope="module")
async def ticket_dsn(admin_dsn: str) -> AsyncIterator[str]:
    """A database of its own, which holds the small organisation's catalog."""
    async with service_database(admin_dsn, "ticket") as dsn:
        pool = await create_pool(dsn, size=1)
        async with unit(pool) as work:
            await document_store.put(work, "ticket", *org.catalog(), at=NOW)
        await pool.close()
        yield dsn


async def get(service: Service, issuer: DevelopmentIssuer, who: str, path: str, **params: Any) -> Any:
    async with api(service, issuer, who) as client:
        return await client.get(path, params=params)


async def plan(service: Service, issuer: DevelopmentIssuer, path: str, body: Any = None) -> Any:
    async with api(service, issuer, "root") as client:
        answer = await client.post(f"{path}/plan", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("collection", "document_id", "shown"),
    [
        ("/v1/accounts", org.P, {"name": "prod-payments", "state": "ACTIVE", "tags": {"env": "prod"}}),
        ("/v1/sets", org.LONG, {"name": "Analyst", "session_duration": "PT12H", "gone": False}),
        ("/v1/set-groups", org.ELEVATED, {"name": "elevated", "sets": [org.ADMIN]}),
        ("/v1/scopes", "prod-admin", {"accounts": "tag:env=prod", "max_duration": "PT1H"}),
    ],
)
async def test_show_and_list_and_put_show_one_thing_in_one_shape(
    service: Service, issuer: DevelopmentIssuer, collection: str, document_id: str, shown: dict[str, Any]
) -> None:
    one = await get(service, issuer, "root", f"{collection}/{document_id}")
    assert one.status_code == 200
    assert one.json() | shown == one.json()
    assert one.headers["ETag"] == f'"{one.json()["revision"]}"'
    items = (await get(service, issuer, "root", collection)).json()["items"]
    assert [item for item in items if item["id"] == document_id] == [one.json()]


async def test_put_answers_what_is_shown_afterwards(service: Service, issuer: DevelopmentIssuer) -> None:
    path = f"/v1/accounts/{org.D}"
    tag = (await get(service, issuer, "root", path)).headers["ETag"]
    async with api(service, issuer, "root", headers={"If-Match": tag}) as client:
        put = await client.put(path, json={"labels": {"owner": "web"}})
    after = await get(service, issuer, "ann", path)
    assert (put.status_code, put.json(), put.headers["ETag"]) == (200, after.json(), after.headers["ETag"])
    assert (after.json()["labels"], after.json()["name"]) == ({"owner": "web"}, "dev-web")


@pytest.mark.parametrize(("who", "status"), [("root", 200), ("aud", 200), ("ann", 404)])
async def test_what_is_not_registered_is_shown_to_those_who_configure(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    answer = await get(service, issuer, who, f"/v1/accounts/{org.MANAGEMENT}")
    assert answer.status_code == status
    if status == 200:
        assert (answer.json()["registered"], answer.json()["revision"]) == (False, None)
        assert "ETag" not in answer.headers
    else:
        assert answer.json()["code"] == "document_unknown"


async def test_what_aws_has_no_more_stays_visible_while_it_is_registered(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    gone = [document for document in org.inventory() if document.id in {org.S, org.READ}]
    assert {type(document) for document in gone} == {Account, PermissionSet}
    publish(service.context.policy, *(one.model_copy(update={"deleted": True}) for one in gone))
    account = (await get(service, issuer, "ann", f"/v1/accounts/{org.S}")).json()
    assert (account["registered"], account["state"], account["name"]) == (True, "GONE", "")
    assert (await get(service, issuer, "ann", f"/v1/sets/{org.READ}")).json()["gone"] is True
    for registered in (True, False):
        items = (await get(service, issuer, "root", "/v1/accounts", registered=registered)).json()["items"]
        assert org.S in [item["id"] for item in items]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "/v1/scopes/prod-admin",
            {"max_duration": "PT8H", "subjects": [f"group:{org.group_id('dev')}"]},
            ("replace", "widens", ["max_duration: PT1H -> PT8H"]),
        ),
        (
            "/v1/scopes/prod-admin",
            {"max_duration": "PT30M"},
            ("replace", "narrows", ["max_duration: PT1H -> PT30M"]),
        ),
        ("/v1/scopes/prod-admin", {"name": "other"}, ("replace", "neither", ["name: prod-admin -> other"])),
        ("/v1/scopes/prod-admin", {}, ("nothing", "neither", [])),
        (
            "/v1/scopes/prod-admin",
            {"subjects": [f"group:{org.group_id('dev')}", f"user:{org.user_id('bob')}"]},
            ("replace", "widens", [f"subjects: + user:{org.user_id('bob')} (bob)"]),
        ),
    ],
)
async def test_plan_says_what_would_change_and_whether_it_narrows(
    service: Service,
    issuer: DevelopmentIssuer,
    path: str,
    body: dict[str, Any],
    expected: tuple[str, str, list[str]],
) -> None:
    now = (await get(service, issuer, "root", path)).json()
    whole = {name: value for name, value in now.items() if name not in {"id", "revision"}} | body
    planned = await plan(service, issuer, path, whole)
    assert (planned["action"], planned["order"], planned["changes"]) == expected
    assert (planned["revision"], planned["problems"]) == (now["revision"], [])
    assert (await get(service, issuer, "root", path)).json() == now
    assert await said(service) == []


async def test_plan_of_an_id_that_cannot_be_put_says_so(service: Service, issuer: DevelopmentIssuer) -> None:
    shown = (await get(service, issuer, "root", "/v1/scopes/prod-admin")).json()
    whole = {name: value for name, value in shown.items() if name not in {"id", "revision"}}
    path = "/v1/scopes/ends-with-a-dash-"
    async with api(service, issuer, "root") as client:
        put = await client.put(path, json=whole)
    (problem,) = [one for one in put.json()["errors"] if one["code"] == "wrong_form"]
    planned = await plan(service, issuer, path, whole)
    assert problem["code"] in {one["code"] for one in planned["problems"]}


async def test_plan_of_a_removal_is_a_plan_without_a_body(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    planned = await plan(service, issuer, "/v1/scopes/no-contractors")
    assert (planned["action"], planned["order"]) == ("remove", "widens")
    assert "effect: deny -> nothing" in planned["changes"]
    assert (await get(service, issuer, "root", "/v1/scopes/no-contractors")).status_code == 200
    async with api(service, issuer, "root") as client:
        unknown = await client.post("/v1/scopes/unknown/plan")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "document_unknown")


async def test_plan_names_the_problems_that_a_put_is_refused_for(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    body = SCOPE | {"subjects": ["group:nobody"], "accounts": "tag:a=b=c"}
    planned = await plan(service, issuer, "/v1/scopes/new", body)
    async with api(service, issuer, "root") as client:
        refused = await client.put("/v1/scopes/new", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "scope_invalid")
    assert planned["problems"] == refused.json()["errors"]
    assert [one["code"] for one in planned["problems"]] == ["tag_malformed", "group_unknown"]
    assert planned["action"] == "create"


async def test_plan_under_an_id_that_was_used_says_so(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "root") as client:
        made = await client.put("/v1/scopes/once", json=SCOPE)
        await client.delete("/v1/scopes/once", headers={"If-Match": made.headers["ETag"]})
    planned = await plan(service, issuer, "/v1/scopes/once", SCOPE)
    assert [(one["field"], one["code"]) for one in planned["problems"]] == [("scope_id", "id_reused")]


async def test_plan_of_a_set_group_looks_whether_anything_names_it(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    used = await plan(service, issuer, f"/v1/set-groups/{org.ELEVATED}", {"name": "e", "sets": [org.LONG]})
    assert (used["order"], used["effect"]) == ("widens", "widens")
    assert f"sets: + {org.LONG} (Analyst)" in used["changes"]
    new = await plan(service, issuer, "/v1/set-groups/new", {"name": "e", "sets": [org.LONG]})
    assert (new["order"], new["effect"]) == ("widens", "neither")


@pytest.mark.parametrize(
    ("account_id", "codes"),
    [(org.MANAGEMENT, ["account_protected"]), ("555555555555", ["account_unknown"]), (org.P, [])],
)
async def test_plan_of_a_registration_knows_the_guard_rails(
    service: Service, issuer: DevelopmentIssuer, account_id: str, codes: list[str]
) -> None:
    planned = await plan(service, issuer, f"/v1/accounts/{account_id}", {"labels": {}})
    assert [one["code"] for one in planned["problems"]] == codes


async def test_sensitive_mark_is_made_for_what_there_is_and_shown_in_previews(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    path = f"/v1/sensitive-marks/{org.P}"
    why = {"why": "Holds the card numbers"}
    assert (await plan(service, issuer, path, why))["order"] == "narrows"
    async with api(service, issuer, "root") as client:
        unknown = await client.put("/v1/sensitive-marks/123456789012", json=why)
        assert [one["code"] for one in unknown.json()["errors"]] == ["marked_unknown"]
        leaky = await client.put(path, json={"why": "password=correct-horse"})
        assert [one["code"] for one in leaky.json()["errors"]] == ["looks_secret"]
        assert (await client.put("/v1/sensitive-marks/prod", json=why)).status_code == 422
        made = await client.put(path, json=why)
    assert (made.status_code, made.json()["name"]) == (201, "prod-payments")
    (fact,) = await said(service, facts_of(SensitiveMark).registered)
    assert fact.about.account_ids == (org.P,)
    publish(service.context.policy, SensitiveMark(id=org.P, **why))
    async with api(service, issuer, "ann") as client:
        shown = (await client.post("/v1/tickets/preview", json=BODY)).json()
    assert [(one["id"], one["why"]) for one in shown["targets"][0]["sensitive"]] == [(org.P, why["why"])]
    assert (await plan(service, issuer, path, None))["order"] == "widens"
