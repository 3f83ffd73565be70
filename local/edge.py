"""One port for services in other processes: the demo's reverse proxy. In one process: local/gateway.py.

As there, a request goes to the first service that has a route for it, and `/<service>/...` reaches one by
name. Which routes there are is asked of the services' own OpenAPI documents, so no table is kept here.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx2
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from local.reference import PATHS, reference_answer
from shared.http.combined import combine

_BETWEEN_TWO_HOPS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_PATIENCE_S: Final = 60.0


class Edge:
    """`upstreams` are the services by name, in the order in which they are asked for a route."""

    def __init__(self, upstreams: Mapping[str, str]) -> None:
        self._clients = {
            name: httpx2.AsyncClient(
                base_url=url, timeout=_PATIENCE_S, limits=httpx2.Limits(max_connections=200)
            )
            for name, url in upstreams.items()
        }
        self._documents: dict[str, dict[str, Any]] = {}
        self._routes: dict[str, tuple[re.Pattern[str], ...]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._answer(request)
        await answer(scope, receive, send)

    async def readiness(self) -> dict[str, str]:
        """What is not ready, by service; empty when all can work."""
        answers = await asyncio.gather(*(_is_ready(client) for client in self._clients.values()))
        return {name: problem for name, problem in zip(self._clients, answers, strict=True) if problem}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        first = path.split("/", 2)[1]
        if first in self._clients:
            return await forward(request, self._clients[first], path.removeprefix(f"/{first}") or "/")
        await self._learn_routes()
        if path in PATHS and not self._silent():
            return reference_answer(path, combine(self._documents))
        for name, patterns in self._routes.items():
            if any(pattern.match(path) for pattern in patterns):
                return await forward(request, self._clients[name], path)
        if silent := self._silent():
            return _problem(503, "not_ready", f"not reached yet: {', '.join(silent)}; try again in a moment")
        return _problem(404, "route_unknown", "no service has this route; see /docs or /openapi.json")

    def _silent(self) -> list[str]:
        return [name for name in self._clients if name not in self._documents]

    async def _learn_routes(self) -> None:
        """Ask whoever has not answered yet; the order of the upstreams is kept."""
        missing = self._silent()
        answers = await asyncio.gather(*(_document(self._clients[name]) for name in missing))
        known = self._documents | {
            name: found for name, found in zip(missing, answers, strict=True) if found is not None
        }
        self._documents = {name: known[name] for name in self._clients if name in known}
        self._routes = {
            name: tuple(compile_path(path)[0] for path in document["paths"])
            for name, document in self._documents.items()
        }


async def forward(
    request: Request, client: httpx2.AsyncClient, path: str, *, host: str | None = None
) -> Response:
    """The upstream's answer, streamed. The Host header stays the caller's unless `host` names another."""
    headers = [(name, value) for name, value in request.headers.raw if name not in _BETWEEN_TWO_HOPS]
    if host is not None:
        headers = [(name, value) for name, value in headers if name != b"host"] + [(b"host", host.encode())]
    url = httpx2.URL(path, query=request.scope["query_string"])
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    outgoing = client.build_request(
        request.method, url, headers=headers, content=request.stream() if has_body else None
    )
    try:
        answer = await client.send(outgoing, stream=True)
    except httpx2.HTTPError as error:
        return _problem(502, "upstream_unreachable", f"the service did not answer: {type(error).__name__}")
    response = StreamingResponse(
        answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
    )
    response.raw_headers = [
        (name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _BETWEEN_TWO_HOPS
    ]
    return response


async def _is_ready(client: httpx2.AsyncClient) -> str | None:
    try:
        answer = await client.get("/readyz", timeout=3)
    except httpx2.HTTPError as error:
        return type(error).__name__
    return None if answer.status_code == 200 else str(answer.json().get("waits_for", answer.status_code))


async def _document(client: httpx2.AsyncClient) -> dict[str, Any] | None:
    """A service's OpenAPI document; None while it cannot be asked."""
    try:
        answer = await client.get("/openapi.json", timeout=5)
    except httpx2.HTTPError:
        return None
    document: dict[str, Any] = answer.json()
    return document if answer.status_code == 200 else None


def _problem(status: int, code: str, detail: str) -> JSONResponse:
    body = {"type": f"urn:jit:problem:{code}", "status": status, "code": code, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
