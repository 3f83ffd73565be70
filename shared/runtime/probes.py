"""Liveness, readiness and metrics, and what is measured around every request."""

import time
from typing import Final, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from shared.foundation.clock import new_id
from shared.observability import metrics, tracing

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those with a label of their own. A client may send any word as a method; each would be kept for ever."""


class Probed(Protocol):
    """What a probe asks of a service."""

    name: str

    def problem(self) -> str | None: ...


def router(service: Probed) -> APIRouter:
    """Open to everybody who can reach the port; they tell nothing about people or tickets."""
    probes = APIRouter(tags=["probes"])

    @probes.get("/livez", responses={})
    async def livez() -> dict[str, str]:
        return {"status": "alive", "service": service.name}

    @probes.get("/readyz", responses={503: {"description": "Not ready; says what it waits for"}})
    async def readyz() -> JSONResponse:
        problem = service.problem()
        if problem:
            return JSONResponse({"status": "not ready", "service": service.name, "waits_for": problem}, 503)
        return JSONResponse({"status": "ready", "service": service.name})

    @probes.get("/metrics", response_class=Response)
    async def show_metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return probes


class RequestScope:
    """Gives each request an id, a span and a place in the metrics."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"jit-request-id", request_id.encode())]
            await send(message)

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with (
            bound_contextvars(service=self._service, request=request_id),
            tracing.span(f"{scope['method']} {scope['path']}", carrier=carrier, kind=SpanKind.SERVER),
        ):
            try:
                await self._app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in METHODS else "OTHER"
                metrics.REQUESTS.labels(self._service, route, method, str(status)).observe(
                    time.perf_counter() - started
                )
