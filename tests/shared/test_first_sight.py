"""Asking the provisioner who a sign-in is: once, for two seconds at most, and never elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.issuer import DevelopmentIssuer
from local.processes import free_ports
from shared.contracts.documents import User
from shared.foundation.clock import ManualClock
from shared.foundation.environment import read
from shared.foundation.errors import Forbidden
from shared.foundation.settings import ServiceSettings
from shared.identity.bindings import Sight
from shared.identity.first_sight import WITHIN_S, Provisioner
from shared.identity.tokens import Claims
from shared.runtime.service import Parts, Process, Service
from tests.support.harness import NOW, ready_tables
from tests.support.http import api, trusted
from tests.support.signing import key_settings
from tests.support.waiting import until

CLAIMS = Claims("https://idp", "s", "user_name", "ann", "https://idp")
SIGHT = Sight("the.very.token", CLAIMS, User(id="u-ann", user_name="ann"))


@dataclass
class Server:
    """Something at the provisioner's address that answers as told."""

    url: str
    answer: Callable[[], Response]
    asked: list[tuple[str, str]] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    wait_s: float = 0.0


@asynccontextmanager
async def listening(answer: Callable[[], Response]) -> AsyncIterator[Server]:
    (port,) = free_ports(1)
    made = Server(f"http://127.0.0.1:{port}", answer)

    async def take(request: Request) -> Response:
        made.asked.append((request.url.path, request.headers["Authorization"]))
        made.connections.add(request.client.port if request.client else 0)
        await asyncio.sleep(made.wait_s)
        return made.answer()

    app = Starlette(routes=[Route("/{path:path}", take)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started, 10)
        yield made
    finally:
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def provisioner(url: str, **more: float) -> AsyncIterator[Provisioner]:
    made = Provisioner(url, **more)
    try:
        yield made
    finally:
        await made.close()


def problem(status: int, code: str, **more: Any) -> Response:
    return JSONResponse({"code": code, **more}, status, media_type="application/problem+json")


async def refusal(server: Server, **more: float) -> Forbidden:
    async with provisioner(server.url, **more) as asked:
        with pytest.raises(Forbidden) as raised:
            await asked.first_sight(SIGHT)
    return raised.value


async def test_first_sight_passes_the_very_token_and_keeps_its_connection() -> None:
    async with listening(lambda: JSONResponse({"id": "u-ann", "more": 1})) as server:
        async with provisioner(f"{server.url}/") as asked:
            assert [await asked.first_sight(SIGHT) for _ in range(3)] == ["u-ann"] * 3
        assert server.asked == [("/v1/me", "Bearer the.very.token")] * 3
        assert len(server.connections) == 1


async def test_first_sight_that_is_refused_for_its_identity_says_so() -> None:
    async with listening(lambda: problem(403, "identity_conflict", conflict_id="c-1")) as server:
        error = await refusal(server)
        assert (error.code, error.extra) == ("identity_conflict", {"conflict_id": "c-1"})
        assert "c-1" in error.detail
        server.answer = lambda: problem(403, "identity_replaced")
        assert (await refusal(server)).code == "identity_replaced"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: problem(403, "not_permitted"),
        lambda: problem(401, "identity_conflict"),
        lambda: problem(503, "tables_not_ready"),
        lambda: JSONResponse({"id": ""}),
        lambda: JSONResponse({"id": 7}),
        lambda: JSONResponse(["u-ann"]),
        lambda: JSONResponse({"id": "u-ann"}, 201),
        lambda: Response("[" * 100_000),
        lambda: Response(b'{"id": "u-ann", "x": "' + b"x" * 1_000_001 + b'"}'),
        lambda: RedirectResponse("/elsewhere"),
    ],
    ids=["403", "401", "503", "empty", "number", "list", "201", "no JSON", "long", "redirect"],
)
async def test_first_sight_with_any_other_answer_names_the_call(answer: Callable[[], Response]) -> None:
    async with listening(answer) as server:
        error = await refusal(server)
    assert error.code == "identity_unbound"
    assert "GET /v1/me" in error.detail
    assert len(server.asked) == 1, "neither repeated nor followed"


async def test_first_sight_takes_no_longer_than_it_may() -> None:
    assert WITHIN_S == 2.0
    async with listening(lambda: JSONResponse({"id": "u-ann"})) as server:
        server.wait_s = 5
        async with asyncio.timeout(3):
            assert (await refusal(server, within_s=0.2)).code == "identity_unbound"
        assert len(server.asked) == 1


async def test_first_sight_where_nobody_listens_is_unbound_and_tells_no_token() -> None:
    (port,) = free_ports(1)
    async with provisioner(f"http://127.0.0.1:{port}") as asked:
        with pytest.raises(Forbidden) as raised:
            await asked.first_sight(SIGHT)
    assert raised.value.code == "identity_unbound"
    assert SIGHT.token not in f"{raised.value.detail} {raised.value.extra} {SIGHT!r}"


@pytest.mark.parametrize("set_apart", [True, False])
async def test_service_asks_at_its_setting_or_else_where_people_reach_the_api(
    issuer: DevelopmentIssuer, set_apart: bool
) -> None:
    async with listening(lambda: problem(403, "identity_conflict", conflict_id="c-1")) as server:
        nowhere = "http://127.0.0.1:1"
        settings = read(
            ServiceSettings,
            **key_settings("ticket"),
            env="development",
            database_url="postgresql://nobody@127.0.0.1:1/none",
            issuers=(trusted(issuer),),
            public_url=nowhere if set_apart else server.url,
            provisioner_url=server.url if set_apart else None,
        )
        clock = ManualClock(NOW)
        service = Service("ticket", settings, Parts(), process=Process(clock, ready_tables(clock)))
        async with api(service, issuer, "ann", sub="unseen") as client:
            answer = await client.get("/v1/scopes")
        assert (answer.status_code, answer.json()["code"]) == (403, "identity_conflict")
        assert answer.json()["conflict_id"] == "c-1"
        assert [path for path, _ in server.asked] == ["/v1/me"]
        await service.stop()
