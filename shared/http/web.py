"""HTTP, as all services speak it: errors as RFC 9457 problems, body limits, and access to the caller.

The only place that renders errors. Routes declare who may call them with `requires` (shared/http/access.py).
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.database.pool import LOST_DATABASE
from shared.foundation.errors import (
    Bug,
    FieldError,
    Invalid,
    JitError,
    Malformed,
    NotReady,
    TooLarge,
    UnsupportedMedia,
)
from shared.http.idempotency import Answer
from shared.observability.logs import logger

BODY_LIMIT = 256 * 1024
"""Bytes. The largest honest body, a rule with many stages, is a hundredth of it."""

PROBLEM_TYPE = "application/problem+json"

log = logger("web")

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "urn:jit:problem:<code>; stable"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "for the person who reads it; says what to do"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": title, "content": {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA}}}
    for status, title in {
        400: "The request cannot be read",
        401: "Not authenticated",
        403: "Not allowed",
        404: "Not found, or not yours to see",
        409: "Not possible in the present state",
        412: "Changed since it was read",
        413: "Too large",
        415: "Unsupported media type",
        422: "The request has errors",
        428: "If-Match is required",
        503: "Not ready; try again",
    }.items()
}
"""Documented on every route; see `Service`."""


def problem(error: JitError) -> JSONResponse:
    """An error as its problem document."""
    body: dict[str, Any] = {
        "type": f"urn:jit:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **error.extra,
    }
    if error.fields:
        body["errors"] = [field.as_dict() for field in error.fields]
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="jit"'
    if error.retryable:
        headers["Retry-After"] = "2"
    return JSONResponse(body, status_code=error.status, media_type=PROBLEM_TYPE, headers=headers)


def respond(answer: Answer) -> Response:
    """A command's answer as the response."""
    if answer.status == 204:
        return Response(status_code=204, headers=answer.headers)
    return JSONResponse(answer.body, status_code=answer.status, headers=answer.headers)


OnRefusal = Callable[[Request, JitError], Awaitable[None]]


def install_errors(app: FastAPI, *, on_refusal: OnRefusal) -> None:
    """Make every error leave as a problem document; refusals are also given to `on_refusal`."""

    async def on_jit_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, JitError)  # noqa: S101 (registered for this class)
        await on_refusal(request, error)
        return problem(error)

    app.add_exception_handler(JitError, on_jit_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for lost in LOST_DATABASE:
        app.add_exception_handler(lost, _on_lost_database)


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class)
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return problem(_not_json())
    fields = [
        FieldError(
            field=_pointer(item["loc"]), code=item["type"], detail=item["msg"].removeprefix("Value error, ")
        )
        for item in error.errors()
    ]
    return problem(
        Invalid(f"{len(fields)} field(s) are wrong; see errors", code="request_invalid", fields=fields)
    )


def _not_json() -> Malformed:
    return Malformed("the body is not JSON", code="json_invalid")


def _pointer(loc: tuple[int | str, ...]) -> str:
    """`/duration` for the body's field, `limit` for a query parameter's."""
    if loc and loc[0] == "body":
        return "/" + "/".join(str(part) for part in loc[1:])
    return str(loc[-1]) if loc else ""


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class)
    if error.status_code == 400:  # FastAPI's word for a body that is not UTF-8, or nested beyond reading
        return problem(_not_json())
    code = {404: "route_unknown", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    body = {
        "type": f"urn:jit:problem:{code}",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "code": code,
    }
    return JSONResponse(body, status_code=error.status_code, media_type=PROBLEM_TYPE, headers=error.headers)


async def _on_lost_database(request: Request, error: Exception) -> Response:
    # asyncpg says InterfaceError both for a lost connection and for wrong use of it, which is a bug.
    if isinstance(error, asyncpg.InterfaceError) and "clos" not in str(error):
        raise error
    log.warning("database lost", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return problem(
        NotReady(
            "the database cannot be reached or is too busy; try again, with the same Idempotency-Key",
            code="database_unavailable",
        )
    )


class BugGuard:
    """Answers what nobody expected. Inside the request's scope, so that the log line has its ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("unexpected error", path=scope["path"])
            await problem(_bug())(scope, receive, send)


def _bug() -> Bug:
    return Bug(
        "something went wrong on our side; this is a bug. Nothing was changed unless you see it.", code="bug"
    )


class BodyGuard:
    """Refuses bodies that are too large or not JSON before anything reads them, and NUL anywhere."""

    def __init__(self, app: ASGIApp, *, limit: int = BODY_LIMIT) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await problem(_nul())(scope, receive, send)
            return
        if scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refuse(headers):
            await problem(refusal)(scope, receive, send)
            return
        try:
            body = await self._read(receive)
        except _Gone:
            return
        except JitError as error:
            await problem(error)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _refuse(self, headers: dict[str, str]) -> JitError | None:
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limit:
            return self._too_large()
        has_body = length not in {"", "0"} or "transfer-encoding" in headers
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and media != "application/json":
            return UnsupportedMedia(
                "send the body as JSON, with the header Content-Type: application/json", code="not_json"
            )
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit // 1024} KiB", code="body_too_large")

    async def _read(self, receive: Receive) -> bytes:
        """The whole body. A part of one may mean more: a stop without its targets stops everything."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                break
        body = b"".join(chunks)
        if _NUL.search(body):
            raise _nul()
        return body


class _Gone(Exception):
    """The client went away before its request was complete."""


_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _nul() -> Malformed:
    # PostgreSQL has no NUL in text, so that the error would come late and look like a bug.
    return Malformed("the character U+0000 has no place in a request", code="nul_character")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once and then whatever the server says (a disconnect)."""
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying


def etag(version: int) -> str:
    return f'"{version}"'


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
