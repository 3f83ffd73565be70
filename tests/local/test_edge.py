import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from local.demo import make_app
from local.edge import Edge
from local.issuer import DevelopmentIssuer

ISSUER = "http://127.0.0.1:8080/issuer"


def service(name: str, route: str) -> FastAPI:
    """Answers what it was asked, as one of the services would stand behind the edge."""
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        return JSONResponse({"waits_for": "the broker"}, 503 if name == "approval" else 200)

    @app.get(route, operation_id="read")
    @app.post(route, operation_id="write")
    async def echo(request: Request) -> JSONResponse:
        body = (await request.body()).decode()
        told = {"service": name, "path": request.url.path, "query": request.url.query, "body": body}
        return JSONResponse({**told, "host": request.headers["host"]}, 201, {"ETag": '"7"'})

    return app


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The address of an application on loopback, for as long as the block runs."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    """In front of two services; the third has never been reached."""
    ticket = served(service("ticket", "/v1/tickets/{ticket_id}"))
    approval = served(service("approval", "/v1/tickets/{ticket_id}/reviews"))
    async with ticket as first, approval as second:
        made = Edge({"ticket": first, "approval": second})
        yield made
        await made.close()


@pytest.fixture
async def client(edge: Edge, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody from another machine than the demo's container."""
    issuer = DevelopmentIssuer(tmp_path, ISSUER, "jit", {"ann": "asks"}, environment="development")
    app = make_app(
        edge,
        issuer,
        url="http://127.0.0.1:8080",
        simulator_url="http://127.0.0.1:8081",
        mailbox="http://127.0.0.1:8025/",
        seeded=asyncio.Event(),
    )
    transport = httpx2.ASGITransport(app, client=("172.18.0.1", 40000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as made:
        yield made


async def test_request_goes_to_the_service_that_has_its_route(client: httpx2.AsyncClient) -> None:
    first = await client.post("/v1/tickets/7?a=b%20c", content=b"text")
    second = await client.get("/v1/tickets/7/reviews")
    assert (first.status_code, first.headers["ETag"]) == (201, '"7"')
    told = {"service": "ticket", "path": "/v1/tickets/7", "query": "a=b%20c", "body": "text"}
    assert first.json() == {**told, "host": "127.0.0.1:8080"}
    assert second.json()["service"] == "approval"


async def test_request_below_a_services_name_reaches_that_service(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/approval/v1/tickets/7/reviews")
    assert answer.json()["path"] == "/v1/tickets/7/reviews"


async def test_request_without_a_route_is_answered_404(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "route_unknown")


async def test_request_while_a_service_was_never_reached_is_answered_503() -> None:
    edge = Edge({"ticket": "http://127.0.0.1:1"})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(edge), base_url="http://edge") as client:
        unknown = await client.get("/v1/tickets")
        named = await client.get("/ticket/livez")
    await edge.close()
    assert (unknown.status_code, unknown.json()["code"]) == (503, "not_ready")
    assert (named.status_code, named.json()["code"]) == (502, "upstream_unreachable")


async def test_readiness_names_what_is_not_ready(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["waits_for"] == {
        "approval": "the broker",
        "demo": "catalog and rules are being put in",
    }


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8080", 200), ("localhost", 200), ("evil.example", 400)]
)
async def test_token_is_given_under_loopback_names_only(
    client: httpx2.AsyncClient, host: str, status: int
) -> None:
    answer = await client.post("/issuer/token", data={"user": "ann"}, headers={"Host": host})
    assert answer.status_code == status


async def test_keys_are_given_under_the_name_that_services_use(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/issuer/jwks.json", headers={"Host": "demo:8080"})
    assert [key["kty"] for key in answer.json()["keys"]] == ["EC"]


async def test_issuers_page_names_its_script_below_its_prefix(client: httpx2.AsyncClient) -> None:
    page = await client.get("/issuer/")
    script = await client.get("/issuer/page.js")
    assert 'src="/issuer/page.js"' in page.text
    assert script.headers["content-type"].startswith("text/javascript")


async def test_front_page_icon_and_the_links_of_mails_are_answered(client: httpx2.AsyncClient) -> None:
    identity = "01a1fb48-a71f-7000-8efd-03a2c6b79bbb"
    for path in ("/", f"/reviews/{identity}", f"/tickets/{identity}"):
        page = await client.get(path)
        assert page.status_code == 200, path
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (await client.get("/favicon.ico")).headers["Content-Type"] == "image/svg+xml"
    assert (await client.get("/reviews/$(reboot)")).status_code == 404
