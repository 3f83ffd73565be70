"""One port for five services, the mailbox and the token issuer: what a reverse proxy does in production.

A request goes to the first service that has a route for it; `/<service>/...` reaches one service by name
(its probes and its OpenAPI document).
"""

from collections.abc import Mapping, Sequence

from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from local.look import ICON_PATHS, icon, page
from local.page import link_page
from local.reference import PATHS, reference_answer
from shared.http.combined import combine
from shared.runtime.service import Service


class Gateway:
    """`mounts` are other applications by path prefix; `front` is the page that `/` shows."""

    def __init__(
        self, services: Sequence[Service], mounts: Mapping[str, ASGIApp], *, front: str, url: str
    ) -> None:
        self._services = {service.name: service for service in services}
        self._mounts = dict(mounts)
        self._front = front
        self._url = url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await self._application(scope)(scope, receive, send)

    def _application(self, scope: Scope) -> ASGIApp:
        """Who answers; for a mounted application the scope is changed to be below its prefix."""
        path: str = scope["path"]
        if path == "/":
            return page(self._front)
        if path in ICON_PATHS:
            return icon()
        if (shown := link_page(self._url, path)) is not None:
            return page(shown)
        if path == "/readyz":
            return self._readiness()
        if path in PATHS:
            return reference_answer(
                path, combine({name: one.app.openapi() for name, one in self._services.items()})
            )
        first = path.split("/", 2)[1]
        if first in self._mounts:
            _go_below(scope, f"/{first}")
            return self._mounts[first]
        if first in self._services:
            scope["path"] = path.removeprefix(f"/{first}") or "/"
            scope["raw_path"] = scope["path"].encode()
            return self._services[first].app
        return next((one.app for one in self._services.values() if _has_route(one, scope)), _UNKNOWN)

    def _readiness(self) -> JSONResponse:
        problems = {name: problem for name, one in self._services.items() if (problem := one.problem())}
        return JSONResponse({"ready": not problems, "waits_for": problems}, 503 if problems else 200)


_UNKNOWN = JSONResponse(
    {
        "type": "urn:jit:problem:route_unknown",
        "title": "Not Found",
        "status": 404,
        "code": "route_unknown",
        "detail": "no service has this route; see /docs or /openapi.json",
    },
    404,
    media_type="application/problem+json",
)


def _go_below(scope: Scope, prefix: str) -> None:
    """As Starlette's Mount does it: the path stays whole, `root_path` says where the application begins."""
    scope["root_path"] = scope.get("root_path", "") + prefix
    if scope["path"] == prefix:
        scope["path"] = f"{prefix}/"


def _has_route(service: Service, scope: Scope) -> bool:
    return any(route.matches(scope)[0] is not Match.NONE for route in service.app.routes)
