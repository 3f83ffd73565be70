"""The catalog over HTTP: what the policy could not hold, guard rails, and who may list what."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.issuer import DevelopmentIssuer
from shared.contracts.configuration import AuthzDenied
from shared.contracts.documents import AccessScope
from shared.database.pool import create_pool
from shared.documents import document_store
from shared.foundation.clock import new_id
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.harness import NOW, publish, said, service_database
from tests.support.http import api
from tests.support.units import unit
from tests.ticket.test_http import BODY, SCOPE

BAD_ID = "old-"


@pytest.fixture(scope="module")
async def ticket_dsn(admin_dsn: str) -> AsyncIterator[str]:
    """A database of its own, which holds the small organisation's catalog."""
    async with service_database(admin_dsn, "ticket") as dsn:
        pool = await create_pool(dsn, size=1)
        async with unit(pool) as work:
            await document_store.put(work, "ticket", *org.catalog(), at=NOW)
        await pool.close()
        yield dsn


@pytest.mark.parametrize(
    ("path", "changes", "field", "code"),
    [
        ("/v1/scopes/abc-", {}, "scope_id", "wrong_form"),
        ("/v1/scopes/new", {"valid_until": "0001-01-01T00:00:00Z"}, "/valid_until", "never_valid"),
        ("/v1/scopes/new", {"valid_from": "9999-12-31T23:59:59.999999Z"}, "/valid_until", "never_valid"),
    ],
)
async def test_scope_that_the_policy_could_not_hold_is_refused_before_it_is_stored(
    service: Service, issuer: DevelopmentIssuer, path: str, changes: dict[str, Any], field: str, code: str
) -> None:
    async with api(service, issuer, "root") as client:
        answer = await client.put(path, json=SCOPE | changes)
    assert answer.status_code == 422
    assert [(one["field"], one["code"]) for one in answer.json()["errors"]] == [(field, code)]


@pytest.fixture
async def refused(service: Service) -> AccessScope:
    """A scope of an earlier release that this policy does not take."""
    async with unit(service.context.pool) as work:
        (stored,) = await document_store.put(
            work, "ticket", AccessScope(id=BAD_ID, **SCOPE, revision=0), at=NOW, expected=0
        )
    assert isinstance(stored, AccessScope)
    publish(service.context.policy, stored)
    assert list(service.context.policy.refused) == [f"scope/{BAD_ID}"]
    return stored


async def test_refused_document_stops_requests_and_is_removed_over_http(
    service: Service, issuer: DevelopmentIssuer, refused: AccessScope
) -> None:
    async with api(service, issuer, "ann") as client:
        stopped = await client.post("/v1/tickets", json=BODY)
    assert (stopped.status_code, stopped.json()["code"]) == (503, "tables_refused")
    async with api(service, issuer, "root") as client:
        other = await client.put(f"/v1/scopes/s-{new_id()[-12:]}", json=SCOPE)
        gone = await client.delete(f"/v1/scopes/{BAD_ID}", headers={"If-Match": "*"})
    assert (other.status_code, gone.status_code) == (201, 204)
    publish(service.context.policy, refused.model_copy(update={"deleted": True}))
    async with api(service, issuer, "ann") as client:
        assert (await client.post("/v1/tickets", json=BODY)).status_code == 201


# lists


@pytest.mark.parametrize(
    ("path", "everything", "registered"),
    [
        ("/v1/accounts", [org.P, org.D, org.S, org.SUSPENDED, org.MANAGEMENT], [org.P, org.D, org.S]),
        ("/v1/sets", [org.ADMIN, org.READ, org.LONG], [org.ADMIN, org.READ, org.LONG]),
    ],
)
async def test_list_of_what_is_not_registered_is_for_those_who_configure(
    service: Service, issuer: DevelopmentIssuer, path: str, everything: list[str], registered: list[str]
) -> None:
    async with api(service, issuer, "ann") as client:
        own = await client.get(path)
        refused = await client.get(path, params={"registered": False})
    assert [one["id"] for one in own.json()["items"]] == registered
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    (fact,) = await said(service, AuthzDenied)
    assert isinstance(fact, AuthzDenied)
    assert (fact.verb, fact.actor.name) == ("config.read", "ann")
    for who in ("root", "aud"):
        async with api(service, issuer, who) as client:
            shown = (await client.get(path, params={"registered": False})).json()["items"]
        assert [one["id"] for one in shown] == everything
        assert [one["id"] for one in shown if one["registered"]] == registered


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/sets", "/v1/set-groups", "/v1/scopes"])
async def test_list_comes_in_pages_that_end(service: Service, issuer: DevelopmentIssuer, path: str) -> None:
    async with api(service, issuer, "root") as client:
        whole = (await client.get(path)).json()
        pages, cursor = [], None
        while True:
            params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(path, params=params)).json()
            pages += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        too_many = await client.get(path, params={"limit": 201})
    assert whole["next_cursor"] is None
    assert pages == whole["items"] != []
    assert [one["id"] for one in pages] == sorted(one["id"] for one in pages)
    assert too_many.status_code == 422
