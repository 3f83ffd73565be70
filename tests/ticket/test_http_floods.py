"""Many calls by one person, or without a token: what is told of them, who is refused, and who is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.ticket.__main__ import build
from services.ticket.settings import TicketSettings
from shared.contracts.configuration import AuthzDenied
from shared.database.pool import create_pool
from shared.foundation.clock import ManualClock, new_id
from shared.http.refusals import TOLD_EVERY, record_due
from shared.runtime.service import Process, Service
from tests.support.harness import ready_tables, said, with_pool
from tests.support.http import NO_LIMITS, api, told, trusted
from tests.support.sampling import MORE
from tests.support.signing import key_settings
from tests.ticket.test_http import submitted

FLOOD = 1500 if MORE else 150
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def ticket_service(
    dsn: str, clock: ManualClock, issuer: DevelopmentIssuer, **given: Any
) -> AsyncIterator[Service]:
    settings = TicketSettings(
        **key_settings("ticket"),
        env="development",
        database_url=SecretStr(dsn),
        issuers=(trusted(issuer),),
        **given,
    )
    built = build(settings, process=Process(clock, ready_tables(clock)))
    async with with_pool(built):
        await built.context.pool.execute("DELETE FROM outbox; DELETE FROM idempotency_key")
        yield built


@pytest.fixture
async def patient(ticket_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    """A service that refuses nobody for the number of their calls."""
    async with ticket_service(ticket_dsn, clock, issuer, **NO_LIMITS) as built:
        yield built


@pytest.fixture
async def limited(ticket_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    """Three calls at once and one every two seconds; two wrong tokens a minute."""
    async with ticket_service(
        ticket_dsn, clock, issuer, requests_per_second=0.5, requests_at_once=3, bad_tokens_per_minute=2
    ) as built:
        yield built


async def denials(service: Service) -> list[AuthzDenied]:
    return [fact for fact in await said(service, AuthzDenied) if isinstance(fact, AuthzDenied)]


# what is told


@pytest.mark.more
async def test_guesses_of_what_does_not_exist_are_told_to_nobody(
    patient: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(patient, issuer, "ann") as client:
        codes = {(await client.get(f"/v1/tickets/{new_id()}")).status_code for _ in range(FLOOD)}
    assert codes == {404}
    assert len(patient.refusals) == 0
    assert await said(patient) == []


@pytest.mark.more
async def test_refusals_about_one_ticket_are_one_fact_a_minute_with_their_number(
    patient: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    ticket = await submitted(patient, issuer, "ann")
    async with api(patient, issuer, "eve") as client:
        for _ in range(FLOOD):
            answer = await client.get(f"/v1/tickets/{ticket['id']}")
            assert (answer.status_code, answer.json()["code"]) == (404, "ticket_unknown")
        (first,) = await denials(patient)
        assert (first.actor.name, first.object_id, first.count) == ("eve", ticket["id"], 1)
        clock.advance(TOLD_EVERY)
        await record_due(patient.context, patient.refusals)
        assert [fact.count for fact in await denials(patient)] == [1, FLOOD - 1]


async def test_a_stop_of_the_service_tells_what_was_counted(
    patient: Service, issuer: DevelopmentIssuer, ticket_dsn: str
) -> None:
    ticket = await submitted(patient, issuer, "ann")
    async with api(patient, issuer, "eve") as client:
        for _ in range(3):
            await client.get(f"/v1/tickets/{ticket['id']}")
    pool = patient.context.pool
    patient.context.set_pool(await create_pool(ticket_dsn, size=1))  # a stop closes what it has
    await patient.stop()
    patient.context.set_pool(pool)
    assert [fact.count for fact in await denials(patient)] == [1, 2]


async def test_what_cannot_be_recorded_now_is_told_later(
    patient: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    ticket = await submitted(patient, issuer, "ann")
    async with api(patient, issuer, "eve") as client:
        for _ in range(3):
            await client.get(f"/v1/tickets/{ticket['id']}")
    clock.advance(TOLD_EVERY)
    pool = patient.context.pool
    patient.context.set_pool(None)
    await record_due(patient.context, patient.refusals)
    patient.context.set_pool(pool)
    clock.advance(TOLD_EVERY)
    await record_due(patient.context, patient.refusals)
    assert [fact.count for fact in await denials(patient)] == [1, 2]


# who is refused


async def test_a_caller_beyond_the_limit_is_told_how_long_to_wait(
    limited: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    async with api(limited, issuer, "ann") as client:
        answers = [await client.get("/v1/tickets") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_requests", "2")
        clock.advance(2 * SECOND)
        assert [(await client.get("/v1/tickets")).status_code for _ in range(2)] == [200, 429]


async def test_a_limited_caller_leaves_others_alone_and_their_own_stops(
    limited: Service, issuer: DevelopmentIssuer
) -> None:
    ticket = await submitted(limited, issuer, "ann")
    async with api(limited, issuer, "ann") as ann, api(limited, issuer, "bob") as bob:
        while (await ann.get("/v1/tickets")).status_code != 429:
            pass
        assert (await bob.get("/v1/tickets")).status_code == 200
        assert (await ann.post(f"/v1/tickets/{ticket['id']}/withdraw")).status_code == 200
        assert (await ann.get("/v1/tickets")).status_code == 429


async def test_stops_take_nothing_of_what_else_a_caller_may_ask(
    limited: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(limited, issuer, "ann") as client:
        for _ in range(10):
            assert (await client.post(f"/v1/tickets/{new_id()}/terminate")).status_code == 404
        assert (await client.get("/v1/tickets")).status_code == 200


async def test_requests_that_are_wrong_are_counted_too(limited: Service, issuer: DevelopmentIssuer) -> None:
    async with api(limited, issuer, "ann") as client:
        wrong = [
            await client.get("/v1/tickets?surprise=1"),
            await client.post("/v1/tickets", content=b"{", headers={"content-type": "application/json"}),
            await client.post("/v1/tickets", content=b"x", headers={"content-type": "text/plain"}),
        ]
        assert [answer.status_code for answer in wrong] == [422, 400, 415]
        assert (await client.get("/v1/tickets")).status_code == 429


async def test_probes_and_the_document_are_never_limited(limited: Service, issuer: DevelopmentIssuer) -> None:
    async with api(limited, issuer, "ann") as client:
        for path in ("/livez", "/metrics", "/openapi.json"):
            assert {(await client.get(path)).status_code for _ in range(6)} == {200}


# without a valid token


def from_address(service: Service, address: str, token: str = "x") -> httpx2.AsyncClient:  # noqa: S107 (none)
    transport = httpx2.ASGITransport(app=service.app, client=(address, 4711))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://jit.test", headers=headers)


async def statuses(service: Service, address: str, calls: int, *, path: str = "/v1/tickets") -> list[int]:
    async with from_address(service, address) as client:
        return [(await client.get(path)).status_code for _ in range(calls)]


async def test_an_address_that_sends_bad_tokens_is_told_to_wait(limited: Service, clock: ManualClock) -> None:
    assert await statuses(limited, "192.0.2.1", 4) == [401, 401, 429, 429]
    async with from_address(limited, "192.0.2.1") as client:
        answer = await client.get("/v1/tickets")
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("too_many_bad_tokens", "30")
    clock.advance(30 * SECOND)
    assert await statuses(limited, "192.0.2.1", 2) == [401, 429]


async def test_other_addresses_and_good_tokens_pass_meanwhile(
    limited: Service, issuer: DevelopmentIssuer
) -> None:
    told(limited, issuer, "ann")
    await statuses(limited, "192.0.2.1", 4)
    assert await statuses(limited, "192.0.2.2", 1) == [401]
    async with from_address(limited, "192.0.2.1", issuer.mint("ann")) as client:
        assert (await client.get("/v1/tickets")).status_code == 200


async def test_a_stop_with_a_bad_token_is_told_what_is_wrong_with_it(limited: Service) -> None:
    await statuses(limited, "192.0.2.1", 4)
    async with from_address(limited, "192.0.2.1") as client:
        answer = await client.post(f"/v1/tickets/{new_id()}/terminate")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_what_one_subscriber_has_counts_as_one_address(
    limited: Service, first: str, second: str, alike: bool
) -> None:
    await statuses(limited, first, 2)
    assert await statuses(limited, second, 1) == [429 if alike else 401]


async def test_behind_a_trusted_proxy_the_callers_own_address_counts(
    ticket_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer
) -> None:
    async with (
        ticket_service(
            ticket_dsn, clock, issuer, bad_tokens_per_minute=1, trusted_proxies=("10.0.0.0/8",)
        ) as service,
        from_address(service, "10.0.0.1") as client,
    ):
        found = [
            (await client.get("/v1/tickets", headers={"X-Forwarded-For": address})).status_code
            for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")
        ]
    assert found == [401, 401, 429]
