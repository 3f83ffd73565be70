"""`python -m local.demo`: what the demo of docker-compose.yml has besides the services and real servers.

AWS's stand-in, the development token issuer, one port for all services, and the demo's catalog and rules.
The issuer still serves this machine only: the compose file publishes the port on loopback, and the Host
header of whoever asks for a token has to be a loopback name, as in the embedded run.
"""

import argparse
import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from local.edge import Edge, forward
from local.errors import CannotStart
from local.issuer import DevelopmentIssuer
from local.look import ICON_PATHS, icon, page
from local.page import AUDIENCE, LINKED, PEOPLE, front_page, link_page
from local.seed import seed
from local.serving import serving
from shared.database.migrate import SERVICES
from simulator.server import Simulator

_ROOT = "/issuer"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/data"), help="folder that keeps everything")
    parser.add_argument("--public-port", type=int, default=8080, help="where browsers find port 8080")
    parser.add_argument("--public-simulator-port", type=int, default=8081, help="the same of port 8081")
    parser.add_argument("--mailbox", default="http://127.0.0.1:8025/", help="where browsers find the mailbox")
    parser.add_argument(
        "--service", default="http://{name}:8080", help="address of a service, with {name} for its name"
    )
    return parser.parse_args()


def make_app(
    edge: Edge,
    issuer: DevelopmentIssuer,
    *,
    url: str,
    simulator_url: str,
    mailbox: str,
    seeded: asyncio.Event,
) -> Starlette:
    """Everything on one port. Ready when every service is and the demo's configuration is in."""
    # Callers of the issuer's own app have to come from loopback; see the head of this file.
    transport = httpx2.ASGITransport(issuer.app, root_path=_ROOT)
    tokens = httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def home(_request: Request) -> Response:
        return page(front_page(url, simulator_url, issuer.people))

    async def link(request: Request) -> Response:
        shown = link_page(url, request.scope["path"])
        return Response(status_code=404) if shown is None else page(shown)

    async def favicon(_request: Request) -> Response:
        return icon()

    async def readiness(_request: Request) -> Response:
        problems = await edge.readiness()
        if not seeded.is_set():
            problems["demo"] = "catalog and rules are being put in"
        return JSONResponse({"ready": not problems, "waits_for": problems}, 503 if problems else 200)

    async def key_set(request: Request) -> Response:
        # Public, and fetched by the services under a name that is not loopback.
        return await forward(request, tokens, f"{_ROOT}/jwks.json", host="127.0.0.1")

    async def issue(request: Request) -> Response:
        return await forward(request, tokens, request.scope["path"])

    async def mails(_request: Request) -> Response:
        return RedirectResponse(mailbox)

    return Starlette(
        routes=[
            Route("/", home),
            *(Route(path, favicon) for path in ICON_PATHS),
            *(Route(f"/{noun}/{{identity}}", link) for noun in LINKED),
            Route("/readyz", readiness),
            Route(f"{_ROOT}/jwks.json", key_set),
            Route(_ROOT + "/{path:path}", issue, methods=["GET", "POST"]),
            Route("/mailbox{path:path}", mails),
            Mount("/", edge),
        ]
    )


async def _run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = f"http://127.0.0.1:{given.public_port}"
    seeded = asyncio.Event()
    async with AsyncExitStack() as running:
        simulator = Simulator(state_file=given.data / "state.json", call_log=given.data / "calls.ndjson")
        await running.enter_async_context(simulator.serve(host="0.0.0.0", port=8081))
        issuer = DevelopmentIssuer(given.data / "issuer", f"{url}{_ROOT}", AUDIENCE, PEOPLE)
        edge = Edge({name: given.service.format(name=name) for name in SERVICES})
        running.push_async_callback(edge.close)
        app = make_app(
            edge,
            issuer,
            url=url,
            simulator_url=f"http://127.0.0.1:{given.public_simulator_port}",
            mailbox=given.mailbox,
            seeded=seeded,
        )
        await running.enter_async_context(serving(app, host="0.0.0.0", port=8080))
        await _seed(issuer, simulator, done=given.data / "seeded")
        seeded.set()
        print(f"JIT's demo: {url}/", flush=True)
        await stop.wait()


async def _seed(issuer: DevelopmentIssuer, simulator: Simulator, *, done: Path) -> None:
    headers = {"Authorization": f"Bearer {issuer.mint('root')}"}
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:8080", headers=headers, timeout=30) as client:

        async def call(
            method: str, path: str, body: dict[str, Any] | None, more: dict[str, str]
        ) -> httpx2.Response:
            return await client.request(method, path, json=body, headers=more)

        await seed(call, simulator.directory, done=done)


def main() -> int:
    try:
        asyncio.run(_run(_arguments()))
    except (OSError, CannotStart) as error:
        print(f"The demo could not start: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
