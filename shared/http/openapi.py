"""One service's OpenAPI document: FastAPI's, completed by what its routes declare.

The only place that says which problems, headers and parameters an operation has. Routes declare who may call
them (`requires`), their models, and their success's headers (`success`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic.json_schema import models_json_schema

from shared.foundation import errors
from shared.http.access import required_by
from shared.http.places import parameters
from shared.http.problems import PROBLEM_TYPE, FieldProblem, Problem

Json = dict[str, Any]

TITLES: Final[Mapping[int, str]] = {
    one.status: one.title for one in errors.JitError.__subclasses__() if one is not errors.Bug
}

HEADERS: Final[Mapping[str, Json]] = {
    "ETag": {"schema": {"type": "string"}, "description": "the version; send it as If-Match with a change"},
    "Location": {"schema": {"type": "string"}, "description": "where what was made can be read"},
    "Retry-After": {"schema": {"type": "integer"}, "description": "seconds to wait before the next try"},
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "how to authenticate"},
    "Jit-Revision": {
        "schema": {"type": "string"},
        "description": "send it as Jit-Min-Revision to read what you wrote",
        "example": "catalog=12",
    },
    "Jit-Request-Id": {"schema": {"type": "string"}, "description": "names this request in the logs"},
    "Idempotency-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "this is the answer of an earlier request with the same key",
    },
    "Jit-Count": {"schema": {"type": "integer"}, "description": "how many lines follow"},
    "Jit-Last-Sequence": {"schema": {"type": "integer"}, "description": "the log's end when this began"},
}

_REVISION: Final = "(catalog|rules|inventory)=[0-9]{1,9}"
PARAMETERS: Final[Mapping[str, Json]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "your name for this request: sent twice it has one effect and one answer",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "example": "01890000-0000-7000-8000-000000000001",
    },
    "JitMinRevision": {
        "name": "Jit-Min-Revision",
        "in": "header",
        "description": "wait until all of this has arrived: Jit-Revision of earlier writes",
        "schema": {"type": "string", "pattern": f"^{_REVISION}(,{_REVISION})*$"},
        "example": "catalog=12,rules=3",
    },
}

WITHOUT_KEY: Final[Json] = {"x-idempotency-key": False}
"""`openapi_extra` of a POST that changes nothing, or that may be repeated anyway."""

_BEARER: Final[Json] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "a token of one of the issuers that the installation trusts (JIT_ISSUERS)",
}
_REF: Final = "#/components/schemas/{model}"


def success(*headers: str, **more: Any) -> Json:
    """The headers of one status among a route's `responses`."""
    return {"headers": {name: _header(name) for name in headers}, **more}


def problems_beside(route: RouteContext, method: str) -> set[int]:
    """Which problems an operation can answer, by what its route declares."""
    statuses = {400, 422}
    if (asked := required_by(route.dependant)) is not None:
        statuses |= {401, 403, 503} if asked.stops else {401, 403, 429, 503}
    if "{" in str(route.path):
        statuses.add(404)
    if method in {"POST", "PUT", "PATCH"}:
        statuses |= {408, 413, 415}
    if method in {"PUT", "DELETE"} or _takes_key(route, method):
        statuses.add(409)
    if "If-Match" in parameters(_original(route), "header"):
        statuses |= {412, 428}
    return statuses


def document(app: FastAPI, *, service: str) -> Json:
    """The whole document of one service."""
    found = _named_pages(
        get_openapi(
            title=app.title,
            version=app.version,
            routes=app.routes,
            servers=[{"url": "/"}],
            description=f"The {service} service of JIT. Errors are RFC 9457 problems with stable codes.",
        )
    )
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(found["paths"][route.path_format][method.lower()], route, method, service)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for replaced in ("HTTPValidationError", "ValidationError"):
        schemas.pop(replaced, None)
    schemas.update(_problem_schemas())
    components["headers"] = {name: dict(one) for name, one in HEADERS.items()}
    components["parameters"] = {name: dict(one) for name, one in PARAMETERS.items()}
    components["securitySchemes"] = {"bearer": _BEARER}
    found["tags"] = [
        {"name": tag, "description": f"Answered by the {service} service."} for tag in _tags(found["paths"])
    ]
    return found


def _named_pages(found: Json) -> Json:
    """`TicketPage` instead of pydantic's `Page_Ticket_`: the names become classes of generated clients."""
    named: Json = json.loads(re.sub(r"\bPage_(\w+?)_(?=\")", r"\1Page", json.dumps(found)))
    return named


def _problem_schemas() -> Json:
    _, schema = models_json_schema(
        [(FieldProblem, "serialization"), (Problem, "serialization")], ref_template=_REF
    )
    return dict(schema["$defs"])


def _complete(operation: Json, route: RouteContext, method: str, service: str) -> None:
    asked = required_by(route.dependant)
    operation["operationId"] = route.operation_id or route.name
    operation["summary"] = str(route.name).replace("_", " ").capitalize()
    operation["x-service"] = service
    operation.setdefault("tags", [service])
    if asked is not None:
        operation["security"] = [{"bearer": []}]
        operation["x-requires"] = asked.verb
        operation.setdefault("parameters", []).extend(_header_parameters(route, method))
    for parameter in operation.get("parameters", []):
        _drop_null(parameter)
    _complete_responses(operation, route, method, guarded=asked is not None)


def _drop_null(parameter: Json) -> None:
    """A parameter that may be left out is no parameter that may be null: there is no way to write that."""
    schema = parameter.get("schema", {})
    members = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    if len(members) == 1:
        schema.update(members[0] | schema)
    elif members:
        schema["anyOf"] = members


def _header_parameters(route: RouteContext, method: str) -> Iterator[Json]:
    if _takes_key(route, method):
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
    yield {"$ref": "#/components/parameters/JitMinRevision"}


def _complete_responses(operation: Json, route: RouteContext, method: str, *, guarded: bool) -> None:
    responses = operation["responses"]
    own = {
        int(status) for status, answer in responses.items() if int(status) >= 400 and "content" not in answer
    }
    responses.pop("422", None)
    for status in sorted(problems_beside(route, method) | (own - {422})):
        responses[str(status)] = _problem(status)
    for status, answer in responses.items():
        headers = {"Jit-Request-Id": _header("Jit-Request-Id"), **answer.get("headers", {})}
        if status < "300" and guarded and _takes_key(route, method):
            headers["Idempotency-Replayed"] = _header("Idempotency-Replayed")
        answer["headers"] = headers
    operation["responses"] = dict(sorted(responses.items()))


def _problem(status: int) -> Json:
    answer: Json = {
        "description": TITLES[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": _header("WWW-Authenticate")}
    if status in {429, 503}:
        answer["headers"] = {"Retry-After": _header("Retry-After")}
    return answer


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _takes_key(route: RouteContext, method: str) -> bool:
    return method == "POST" and bool((route.openapi_extra or {}).get("x-idempotency-key", True))


def _original(route: RouteContext) -> APIRoute:
    assert isinstance(route.original_route, APIRoute)  # noqa: S101 (callers ask for API routes only)
    return route.original_route


def _tags(paths: Mapping[str, Json]) -> list[str]:
    return sorted(
        {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    )
