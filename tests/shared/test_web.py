"""HTTP as all services speak it: every error is a problem document that says what to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Annotated, Any

import asyncpg
import httpx2
import pytest
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shared.context import Context
from shared.foundation import errors
from shared.foundation.settings import ServiceSettings
from shared.http.bodies import BODY_LIMIT
from shared.http.routers import make_router
from shared.runtime.service import Parts, Service
from tests.support.signing import key_settings

RAISED: list[tuple[errors.JitError, int]] = [
    (errors.Invalid("wrong", code="x", fields=[errors.FieldError("/a", "b", "c")]), 422),
    (errors.Malformed("wrong", code="x"), 400),
    (errors.Unauthenticated("wrong", code="x"), 401),
    (errors.Forbidden("wrong", code="x"), 403),
    (errors.NotFound("wrong", code="x"), 404),
    (errors.TooSlow("wrong", code="x"), 408),
    (errors.Conflict("wrong", code="x", extra={"revision": 3}), 409),
    (errors.PreconditionFailed("wrong", code="x"), 412),
    (errors.TooLarge("wrong", code="x"), 413),
    (errors.UnsupportedMedia("wrong", code="x"), 415),
    (errors.PreconditionRequired("wrong", code="x"), 428),
    (errors.TooMany("wrong", code="x", wait_s=7), 429),
    (errors.NotReady("wrong", code="x"), 503),
    (errors.Bug("wrong", code="x"), 500),
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=1)
    texts: list[str] = []


class Kind(StrEnum):
    LARGE = "large"
    SMALL = "small"


class Calls:
    """Routes that fail as told, and what reached them."""

    def __init__(self) -> None:
        self.bodies: list[Body | None] = []
        self.error: Exception = RuntimeError("secret detail")

    def router(self, _context: Context) -> Sequence[APIRouter]:
        routes = make_router("test")

        @routes.post("/echo")
        async def echo(body: Body, limit: int = 1) -> dict[str, int]:
            self.bodies.append(body)
            return {"number": body.number}

        @routes.post("/stop")
        async def stop(body: Body | None = None) -> dict[str, bool]:
            self.bodies.append(body)
            return {"everything": body is None}

        @routes.delete("/echo")
        async def remove() -> None: ...

        @routes.get("/things/{thing_id}")
        async def show(thing_id: int, kind: Annotated[list[Kind] | None, Query()] = None) -> dict[str, Any]:
            return {"thing": thing_id, "kind": kind}

        @routes.post("/things/preview")
        async def preview() -> dict[str, bool]:
            return {"changed": False}

        @routes.get("/fail")
        async def fail() -> None:
            raise self.error

        return [routes]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def service(calls: Calls) -> Service:
    return served(calls)


def served(calls: Calls, **given: Any) -> Service:
    settings = ServiceSettings(
        env="development",
        database_url="postgresql://nobody@127.0.0.1:1/none",
        **key_settings("ticket"),
        **given,
    )
    return Service("ticket", settings, Parts(routers=calls.router))


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with connected(service) as found:
        yield found


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=service.app), base_url="http://jit.test"
    ) as found:
        yield found


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:jit:problem:{code}"
    assert (body["code"], body["status"]) == (code, status)
    assert body["title"]
    assert body["detail"]
    assert answer.headers["jit-request-id"]
    return body


@pytest.mark.parametrize(("error", "status"), RAISED, ids=lambda given: type(given).__name__)
async def test_every_error_leaves_as_its_problem(
    client: httpx2.AsyncClient, calls: Calls, error: errors.JitError, status: int
) -> None:
    calls.error = error
    answer = await client.get("/fail")
    body = problem(answer, status, "x")
    assert body["detail"] == "wrong"
    assert body.get("errors", []) == [field.as_dict() for field in error.fields]
    assert answer.headers.get("retry-after") == {429: "7", 503: "2"}.get(status)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert all(body[name] == value for name, value in error.extra.items())


def test_every_error_class_is_tried_here() -> None:
    assert {type(error) for error, _ in RAISED} == set(errors.JitError.__subclasses__())


async def test_a_users_error_logs_no_stack_trace(client: httpx2.AsyncClient, calls: Calls) -> None:
    calls.error = errors.Conflict("wrong", code="x")
    with capture_logs() as logs:
        await client.get("/fail")
    assert not [entry for entry in logs if entry.get("exc_info")]


async def test_a_bug_logs_its_stack_trace_and_hides_it(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/fail")
    body = problem(answer, 500, "bug")
    assert "this is a bug" in body["detail"]
    assert "secret detail" not in answer.text
    (entry,) = [entry for entry in logs if entry.get("exc_info")]
    assert entry["path"] == "/fail"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.TooManyConnectionsError("too many"),
        asyncpg.LockNotAvailableError("lock timeout"),
        asyncpg.DeadlockDetectedError("deadlock"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_database_is_not_ready_and_no_bug(
    client: httpx2.AsyncClient, calls: Calls, error: Exception
) -> None:
    calls.error = error
    answer = await client.get("/fail")
    problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"]


async def test_wrong_use_of_the_database_is_a_bug(client: httpx2.AsyncClient, calls: Calls) -> None:
    calls.error = asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed")
    problem(await client.get("/fail"), 500, "bug")


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"{'a': 1}", b'{"number": 1}}', b'{"number": \xff}', b'"\xed\xa0\x80"', b"[" * 100_000],
)
async def test_malformed_json_is_refused(client: httpx2.AsyncClient, calls: Calls, body: bytes) -> None:
    answer = await client.post("/echo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert calls.bodies == []


async def test_wrong_fields_are_named_with_a_pointer(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/echo?limit=x", json={"number": 0, "texts": ["a", 1], "more": True})
    fields = {field["field"]: field["code"] for field in problem(answer, 422, "request_invalid")["errors"]}
    assert fields == {
        "/number": "too_small",
        "/texts/1": "wrong_type",
        "/more": "unknown_field",
        "limit": "wrong_type",
    }


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    """A body whose length is not announced."""
    for _ in range(size // 65536):
        yield b" " * 65536


async def test_ten_megabytes_are_refused_with_and_without_their_length(
    client: httpx2.AsyncClient, calls: Calls
) -> None:
    headers = {"content-type": "application/json"}
    announced = await client.post("/echo", content=b" " * 10_000_000, headers=headers)
    problem(announced, 413, "body_too_large")
    unannounced = await client.post("/echo", content=in_pieces(10_000_000), headers=headers)
    problem(unannounced, 413, "body_too_large")
    assert calls.bodies == []


async def test_a_body_at_the_limit_is_read(client: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    body = b'{"number": 1}'
    fits = await client.post("/echo", content=body + b" " * (BODY_LIMIT - len(body)), headers=headers)
    assert fits.json() == {"number": 1}
    above = await client.post("/echo", content=body + b" " * (BODY_LIMIT - len(body) + 1), headers=headers)
    problem(above, 413, "body_too_large")


@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_another_content_type_is_refused(client: httpx2.AsyncClient, media: str | None) -> None:
    headers = {} if media is None else {"content-type": media}
    problem(await client.post("/echo", content=b'{"number": 1}', headers=headers), 415, "not_json")


async def test_a_charset_beside_json_is_accepted(client: httpx2.AsyncClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await client.post("/echo", content=b'{"number": 1}', headers=headers)).status_code == 200


async def test_a_post_without_a_body_needs_no_content_type(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/stop")).json() == {"everything": True}


async def test_unknown_routes_and_methods_are_problems(client: httpx2.AsyncClient) -> None:
    problem(await client.get("/nowhere"), 404, "route_unknown")
    answer = await client.get("/echo")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, DELETE"


@pytest.mark.parametrize("text", ["a\0b", "\0", "\\\0"])
async def test_nul_is_refused_before_it_reaches_the_database(
    client: httpx2.AsyncClient, calls: Calls, text: str
) -> None:
    problem(await client.post("/echo", json={"number": 1, "texts": [text]}), 400, "nul_character")
    assert calls.bodies == []


async def test_an_escaped_backslash_before_u0000_is_no_nul(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/echo", json={"number": 1, "texts": ["\\u0000"]})
    assert answer.status_code == 200


async def test_nul_in_path_or_query_is_refused(client: httpx2.AsyncClient) -> None:
    problem(await client.get("/things/a%00b"), 400, "nul_character")
    problem(await client.get("/livez?a=%00"), 400, "nul_character")


@pytest.mark.parametrize("received", [b"", b'{"number"', b'{"number": 1}'])
async def test_a_request_cut_off_before_its_end_reaches_no_route(
    service: Service, calls: Calls, received: bytes
) -> None:
    messages = [
        {"type": "http.request", "body": received, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await service.app(post_scope("/stop"), receive, send)
    assert calls.bodies == []
    assert sent == []


def post_scope(path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": None,
        "server": None,
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"200"), *headers],
    }


class Silent:
    """A client that announced a body and sends nothing more; and what it is answered."""

    def __init__(self) -> None:
        self.waited = False
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        self.waited = True
        await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def refusal(self) -> tuple[int, str, dict[bytes, bytes]]:
        start, body = self.sent
        return start["status"], json.loads(body["body"])["code"], dict(start["headers"])


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(calls: Calls) -> None:
    client = Silent()
    service = served(calls, request_within_s=0.05)
    async with asyncio.timeout(5):
        await service.app(post_scope("/stop"), client.receive, client.send)
    status, code, headers = client.refusal()
    assert (status, code, headers[b"connection"]) == (408, "body_too_slow", b"close")
    assert client.waited
    assert calls.bodies == []


@pytest.mark.parametrize(
    ("path", "authorization", "status", "code"),
    [
        ("/v1/ops/ticket/outbox/replay", b"", 401, "token_missing"),
        ("/v1/ops/ticket/outbox/replay", b"Basic YTpi", 401, "token_missing"),
        ("/v1/ops/ticket/outbox/replay", b"Bearer x", 401, "token_invalid"),
        ("/v1/nowhere", b"Bearer x", 404, "route_unknown"),
        ("/v1/ops/ticket/alerts", b"Bearer x", 405, "method_not_allowed"),
    ],
)
async def test_no_body_is_waited_for_before_it_is_known_who_calls_what(
    service: Service, path: str, authorization: bytes, status: int, code: str
) -> None:
    client = Silent()
    async with asyncio.timeout(5):
        await service.app(post_scope(path, (b"authorization", authorization)), client.receive, client.send)
    refusal = client.refusal()
    assert refusal[:2] == (status, code)
    assert (b"www-authenticate" in refusal[2]) == (status == 401)
    assert not client.waited


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1"])
async def test_another_encoding_is_refused(client: httpx2.AsyncClient, calls: Calls, encoding: str) -> None:
    body = '{"number": 1, "texts": ["é"]}'.encode(encoding)
    answer = await client.post("/echo", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) in {(400, "not_utf8"), (400, "nul_character")}
    named = {"content-type": f"application/json; charset={encoding}"}
    problem(await client.post("/echo", content=body, headers=named), 415, "not_utf8")
    assert calls.bodies == []


async def test_a_compressed_body_is_refused(client: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    problem(await client.post("/echo", content=b"{}", headers=headers), 415, "content_encoded")


async def test_a_body_in_pieces_with_another_content_type_is_refused(
    client: httpx2.AsyncClient, calls: Calls
) -> None:
    answer = await client.post("/stop", content=in_pieces(65536), headers={"content-type": "text/plain"})
    problem(answer, 415, "not_json")
    assert calls.bodies == []


async def test_head_answers_as_get_without_its_body(client: httpx2.AsyncClient) -> None:
    whole, head = await client.get("/things/3"), await client.head("/things/3")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    problem_free = await client.head("/things/x")
    assert (problem_free.status_code, problem_free.content) == (422, b"")


async def test_a_path_of_its_own_is_not_read_as_a_parameter(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/things/preview")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    other = await client.put("/things/3")
    problem(other, 405, "method_not_allowed")
    assert other.headers["allow"] == "GET, HEAD"


async def test_a_slash_too_many_is_another_path(client: httpx2.AsyncClient) -> None:
    problem(await client.get("/things/3/"), 404, "route_unknown")


@pytest.mark.parametrize(
    ("query", "field", "code", "hint"),
    [
        ("?kinds=large", "kinds", "unknown_parameter", "did you mean kind?"),
        ("?colour=red", "colour", "unknown_parameter", "known are kind"),
        ("?kind=larg", "kind", "not_a_choice", "large, small; did you mean large?"),
        ("?kind=large&kind=x", "kind", "not_a_choice", "large, small"),
    ],
)
async def test_a_wrong_query_parameter_is_named_with_what_was_meant(
    client: httpx2.AsyncClient, query: str, field: str, code: str, hint: str
) -> None:
    (error,) = problem(await client.get(f"/things/3{query}"), 422, "request_invalid")["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert hint in error["detail"]


async def test_a_route_without_parameters_takes_none(client: httpx2.AsyncClient) -> None:
    (error,) = problem(await client.get("/livez?verbose=1"), 422, "request_invalid")["errors"]
    assert (error["field"], error["code"]) == ("verbose", "unknown_parameter")


async def test_a_parameter_given_twice_is_refused_unless_it_is_a_list(client: httpx2.AsyncClient) -> None:
    (error,) = problem(
        await client.post("/echo?limit=1&limit=2", json={"number": 1}), 422, "request_invalid"
    )["errors"]
    assert (error["field"], error["code"]) == ("limit", "given_twice")
    assert (await client.get("/things/3?kind=large&kind=small")).json()["kind"] == ["large", "small"]


async def test_a_wrong_path_parameter_is_named(client: httpx2.AsyncClient) -> None:
    (error,) = problem(await client.get("/things/x"), 422, "request_invalid")["errors"]
    assert (error["field"], error["code"]) == ("thing_id", "wrong_type")


async def test_every_request_is_one_line_of_the_log_with_its_id(client: httpx2.AsyncClient) -> None:
    with capture_logs(processors=[merge_contextvars]) as logs:
        answer = await client.get("/things/x")
        await client.get("/livez")
    (line,) = [entry for entry in logs if entry["event"] == "request" and entry["log_level"] == "info"]
    assert line["request"] == answer.headers["jit-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/things/{thing_id}", 422)
    assert (line["service"], line["user"]) == ("ticket", None)
    assert line["milliseconds"] >= 0


async def test_openapi_documents_only_problems_that_occur(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    posts = document["paths"]["/echo"]["post"]["responses"]
    assert {status for status in posts if status >= "400"} == {"400", "408", "409", "413", "415", "422"}
    gets = document["paths"]["/things/{thing_id}"]["get"]["responses"]
    assert {status for status in gets if status >= "400"} == {"400", "404", "422"}


async def test_there_is_one_problem_schema(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in json.dumps(document)
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and "application/problem+json" in answer["content"]:
                    schema = answer["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}
    assert document["components"]["schemas"]["Problem"]["required"] == [
        "type", "title", "status", "detail", "code",
    ]  # fmt: skip
