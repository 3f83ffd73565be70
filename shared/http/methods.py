"""Which operation a request is for: HEAD wherever there is GET, a 405 that lists the methods, or a 404.

Before routing, since a router looks for any route that fits: `GET /v1/tickets/preview` would be read as a
ticket whose id is "preview". What the operation requires of its caller is noted for shared/http/admission.py.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.access import Requires, required_by
from shared.http.problems import render, route_unknown


@dataclass
class _Path:
    template: str
    pattern: re.Pattern[str]
    parameters: int
    methods: dict[str, Requires | None] = field(default_factory=dict)


class Methods:
    """Answers 404 and 405 for what there is not, and HEAD as GET without its body."""

    def __init__(self, app: ASGIApp, *, routes: list[BaseRoute]) -> None:
        self._app = app
        self._routes = routes
        self._paths: list[_Path] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = self._path(scope["path"])
        methods = path.methods if path is not None else {}
        scope["state"]["template"] = path.template if path is not None else "unmatched"
        if scope["method"] == "HEAD" and "GET" in methods:
            scope["method"], send = "GET", _without_body(send)
        if scope["method"] in methods:
            scope["state"]["requires"] = methods[scope["method"]]
            await self._app(scope, receive, send)
        else:
            refusal = _refuse(set(methods)) if methods else route_unknown()
            await refusal(scope, receive, send)

    def _path(self, path: str) -> _Path | None:
        """The template that fits best: the one with the fewest parameters."""
        if not self._paths:
            self._paths = _paths(self._routes)
        return next((one for one in self._paths if one.pattern.match(path)), None)


def _paths(routes: Iterable[BaseRoute]) -> list[_Path]:
    found: dict[str, _Path] = {}
    for route in iter_route_contexts(list(routes)):
        if route.path is not None and route.methods:
            pattern, _, parameters = compile_path(route.path)
            path = found.setdefault(route.path, _Path(route.path, pattern, len(parameters)))
            path.methods.update(dict.fromkeys(route.methods, required_by(getattr(route, "dependant", None))))
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
