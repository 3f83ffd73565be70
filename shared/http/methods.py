"""Which methods a path has: HEAD wherever there is GET, and a 405 that lists them all.

Before routing, since a router looks for any route that fits: `GET /v1/tickets/preview` would be read as a
ticket whose id is "preview".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.problems import render


@dataclass
class _Path:
    pattern: re.Pattern[str]
    parameters: int
    methods: set[str] = field(default_factory=set)


class Methods:
    """Answers 405 for what a path has no method for, and HEAD as GET without its body."""

    def __init__(self, app: ASGIApp, *, routes: list[BaseRoute]) -> None:
        self._app = app
        self._routes = routes
        self._paths: list[_Path] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._methods(scope["path"]) if scope["type"] == "http" else None
        if not methods:
            await self._app(scope, receive, send)
        elif scope["method"] == "HEAD" and "GET" in methods:
            scope["method"] = "GET"
            await self._app(scope, receive, _without_body(send))
        elif scope["method"] in methods:
            await self._app(scope, receive, send)
        else:
            await _refuse(methods)(scope, receive, send)

    def _methods(self, path: str) -> set[str] | None:
        """Those of the template that fits best: the one with the fewest parameters."""
        if not self._paths:
            self._paths = _paths(self._routes)
        return next((one.methods for one in self._paths if one.pattern.match(path)), None)


def _paths(routes: Iterable[BaseRoute]) -> list[_Path]:
    found: dict[str, _Path] = {}
    for route in iter_route_contexts(list(routes)):
        if route.path is not None and route.methods:
            pattern, _, parameters = compile_path(route.path)
            found.setdefault(route.path, _Path(pattern, len(parameters))).methods.update(route.methods)
    return sorted(found.values(), key=lambda one: one.parameters)


def _without_body(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sending


_ORDER: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _refuse(methods: set[str]) -> ASGIApp:
    known = methods | ({"HEAD"} if "GET" in methods else set())
    allow = ", ".join(sorted(known, key=_ORDER.index))
    return render(
        405, "method_not_allowed", "Method not allowed", f"this path knows {allow}", headers={"Allow": allow}
    )
