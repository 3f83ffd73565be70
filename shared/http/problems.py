"""Errors as RFC 9457 problem documents. The only place that renders them."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.database.pool import LOST_DATABASE
from shared.foundation.errors import (
    Bug,
    Invalid,
    JitError,
    Malformed,
    NotReady,
    PreconditionRequired,
    Unauthenticated,
)
from shared.foundation.shapes import Shown
from shared.http import places
from shared.http.wording import field_error
from shared.observability.logs import logger

PROBLEM_TYPE: Final = "application/problem+json"

log = logger("web")


class FieldProblem(Shown):
    """One wrong field."""

    field: str = Field(description="JSON pointer into the body, or the name of a parameter")
    code: str = Field(description="stable", examples=["unknown_field"])
    detail: str = Field(
        description="says what to do", examples=["there is no field duraton; did you mean duration?"]
    )


class Problem(Shown):
    """Why a request was refused (RFC 9457). Some codes add members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="urn:jit:problem:<code>; stable", examples=["urn:jit:problem:request_invalid"]
    )
    title: str = Field(description="the kind of error", examples=[Invalid.title])
    status: int = Field(description="the HTTP status", examples=[422])
    detail: str = Field(description="for the person who reads it; says what to do")
    code: str = Field(description="stable", examples=["request_invalid"])
    errors: list[FieldProblem] = Field(default=[], description="the wrong fields, where there are some")


def problem(error: JitError) -> JSONResponse:
    """An error as its problem document."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="jit"'
    if error.status == 408:
        headers["Connection"] = "close"  # the rest of the body may still come
    if error.retryable:
        headers["Retry-After"] = str(error.wait_s)
    fields = {"errors": [field.as_dict() for field in error.fields]} if error.fields else {}
    return render(
        error.status, error.code, error.title, error.detail, headers=headers, **error.extra, **fields
    )


def render(
    status: int, code: str, title: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem document, also for what is no error of ours."""
    body = {
        "type": f"urn:jit:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return JSONResponse(body | more, status_code=status, media_type=PROBLEM_TYPE, headers=headers)


OnRefusal = Callable[[Request, JitError], Awaitable[None]]


def install_errors(app: FastAPI, *, on_refusal: OnRefusal) -> None:
    """Make every error leave as a problem document; refusals are also given to `on_refusal`."""

    async def on_jit_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, JitError)  # noqa: S101 (registered for this class)
        answer = problem(error)
        # After the answer: how long it takes must not tell a 404 that hides something from one that does not.
        answer.background = BackgroundTask(on_refusal, request, error)
        return answer

    app.add_exception_handler(JitError, on_jit_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for lost in LOST_DATABASE:
        app.add_exception_handler(lost, _on_lost_database)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem(not_json())
    if any(item["type"] == "missing" and item["loc"] == ("header", "If-Match") for item in found):
        return problem(if_match_missing())
    route = request.scope.get("route")
    where = route if isinstance(route, APIRoute) else None
    fields = [field_error(item, places.find(where, item["loc"])) for item in found]
    names = ", ".join(field.field or "the body" for field in fields[:5])
    return problem(Invalid(f"please correct {names}; see errors", code="request_invalid", fields=fields))


def if_match_missing() -> PreconditionRequired:
    return PreconditionRequired(
        'read it first and send its ETag, If-Match: "<version>", so that you decide on what you saw',
        code="if_match_missing",
    )


def token_missing() -> Unauthenticated:
    return Unauthenticated("send a token: Authorization: Bearer <token>", code="token_missing")


def route_unknown() -> JSONResponse:
    return render(404, "route_unknown", "Not found", "there is no such route; see /openapi.json")


def not_json() -> Malformed:
    return Malformed("the body is not JSON", code="json_invalid")


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class)
    if error.status_code == 400:  # FastAPI's word for a body that is nested beyond reading
        return problem(not_json())
    return render(
        error.status_code, "http_error", "Error", str(error.detail), headers=dict(error.headers or {})
    )


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
