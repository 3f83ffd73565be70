"""The API's document and a page that shows it: nothing is fetched from elsewhere, and no script runs.

Renders whatever OpenAPI document it is given; shared/http/combined.py makes the one over all services.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup
from starlette.responses import JSONResponse, Response

from local.look import HEAD, page

Json = Mapping[str, Any]

PATHS: Final = frozenset({"/openapi.json", "/docs"})
_TEMPLATE: Final = Environment(autoescape=True).from_string(
    (Path(__file__).parent / "reference.html").read_text(encoding="utf-8")
)


def reference_answer(path: str, document: Json) -> Response:
    """What one of `PATHS` answers."""
    if path == "/openapi.json":
        return JSONResponse(document)
    return page(reference_page(document))


def reference_page(document: Json) -> str:
    operations: dict[str, list[Json]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operations[operation["tags"][0]].append(_operation(document, path, method, operation))
    return _TEMPLATE.render(
        head=Markup(HEAD),  # noqa: S704 - a constant
        info=document["info"],
        version=document["openapi"],
        tags=document["tags"],
        operations=operations,
        schemas=[_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())],
        kinds=lambda schema: list(_kinds(schema)),
    )


def _operation(document: Json, path: str, method: str, operation: Json) -> Json:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return {
        **operation,
        "path": path,
        "method": method.upper(),
        "rows": [_resolved(document, one) for one in operation.get("parameters", [])],
        "body": body and {"schema": body["schema"], "examples": _examples(document, body["schema"])},
        "answers": [
            {
                "status": status,
                "description": answer["description"],
                "schema": next((one.get("schema") for one in answer.get("content", {}).values()), None),
                "headers": [name for name in answer.get("headers", {}) if name != "Jit-Request-Id"],
            }
            for status, answer in operation["responses"].items()
        ],
    }


def _examples(document: Json, schema: Json) -> list[Any]:
    found: list[Any] = _resolved(document, schema).get("examples", [])
    return found


def _resolved(document: Json, value: Json) -> Json:
    """What a `$ref` refers to."""
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _schema(name: str, schema: Json) -> Json:
    required = schema.get("required", [])
    rows = [
        {
            "name": field,
            "required": field in required,
            "schema": one,
            "description": one.get("description", ""),
        }
        for field, one in schema.get("properties", {}).items()
    ]
    return {"name": name, "description": schema.get("description", ""), "rows": rows, "schema": schema}


def _kinds(schema: Json) -> Iterator[dict[str, str]]:
    """A schema in a line: text, with links to the schemas it names."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        yield {"text": name, "link": f"schema-{name}"}
    elif members := schema.get("anyOf", schema.get("oneOf")):
        for number, member in enumerate(members):
            if number:
                yield {"text": " or "}
            yield from _kinds(member)
    elif schema.get("type") == "array":
        yield {"text": "list of "}
        yield from _kinds(schema.get("items", {}))
    elif values := schema.get("enum", [schema["const"]] if "const" in schema else None):
        yield {"text": " | ".join(json.dumps(value) for value in values)}
    else:
        yield {"text": _plain(schema)}


def _plain(schema: Json) -> str:
    kind = schema.get("type", "anything")
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    limits = {
        "format": "{}",
        "pattern": "{}",
        "minLength": "from {} characters",
        "maxLength": "to {} characters",
        "minimum": "from {}",
        "maximum": "to {}",
        "default": "{!r} unless given",
    }
    found = [text.format(schema[key]) for key, text in limits.items() if schema.get(key) is not None]
    return f"{name} ({', '.join(found)})" if found else name
