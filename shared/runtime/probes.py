"""Liveness, readiness and metrics, and what is measured around every request."""

import time
from typing import Final, Literal, Protocol

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from shared.foundation.clock import new_id
from shared.foundation.shapes import Shown
from shared.http.routers import make_router
from shared.observability import metrics, tracing
from shared.observability.logs import logger

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those with a label of their own. A client may send any word as a method; each would be kept for ever."""
PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})

log = logger("http")


class Alive(Shown):
    """The process answers."""

    status: Literal["alive"] = "alive"
    service: str


class Readiness(Shown):
    """Whether the service can do its work, and what it waits for."""

    status: Literal["ready", "not ready"]
    service: str
    waits_for: str | None = Field(
        default=None, description="null when ready", examples=["waiting for the broker"]
    )


class Probed(Protocol):
    """What a probe asks of a service."""

    name: str

    def problem(self) -> str | None: ...


def router(service: Probed) -> APIRouter:
    """Open to everybody who can reach the port; they tell nothing about people or tickets."""
    probes = make_router("probes")

    @probes.get("/livez")
    async def livez() -> Alive:
        """Whether the process answers at all."""
        return Alive(service=service.name)

    @probes.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
    async def readyz(response: Response) -> Readiness:
        """Whether the service can do its work; what it waits for, when not."""
        if problem := service.problem():
            response.status_code = 503
            return Readiness(status="not ready", service=service.name, waits_for=problem)
        return Readiness(status="ready", service=service.name)

    @probes.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """Prometheus's text format."""
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
        status, method = 500, scope["method"] if scope["method"] in METHODS else "OTHER"
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
                self._note(scope, method, status, time.perf_counter() - started)

    def _note(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Into the metrics and, unless it was a probe, the log: one line for each request."""
        route = scope["state"].get("template", "unmatched")
        metrics.REQUESTS.labels(self._service, route, method, str(status)).observe(seconds)
        actor, claims = scope["state"].get("actor"), scope["state"].get("claims")
        write = log.debug if route in PROBES else log.info
        write(
            "request",
            method=method,
            route=route,
            path=scope["path"][:200],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            user=actor.user_id if actor else None,
            token_subject=claims.sub if claims and not actor else None,
        )
