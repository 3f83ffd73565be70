"""The API's document over all services: what it promises of every operation, and that it is stored."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel

from cli.api import SERVICES, api_document, api_text, build
from shared.http.combined import Clash, combine
from tests.support.pages import ROOT

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return api_document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_the_stored_document_is_what_the_routes_say() -> None:
    stored = (ROOT / "docs/openapi/jit.json").read_text(encoding="utf-8")
    assert stored == api_text(), "docs/openapi/jit.json: run make generate"


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_problem_is_the_one_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert answer["content"] == PROBLEM, f"{name}: {status}"
    named = [name for name in document["components"]["schemas"] if "Problem" in name or "Error" in name]
    assert sorted(named) == ["FieldProblem", "Problem"], "a second schema of a problem"


def test_every_operation_has_its_service_its_tag_and_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for name, operation in operations(document):
        assert operation["x-service"] in SERVICES, name
        assert len(operation["tags"]) == 1, name
        assert operation["operationId"].isidentifier(), name
        assert operation["security"] == [{"bearer": []}], name
    tags = {operation["tags"][0] for _, operation in operations(document)}
    assert [tag["name"] for tag in document["tags"]] == sorted(
        tags, key=[t["name"] for t in document["tags"]].index
    )


def test_it_has_every_route_of_every_service(document: dict[str, Any]) -> None:
    for service in SERVICES:
        paths = {path for path in build(service).app.openapi()["paths"] if path.startswith("/v1/")}
        assert paths
        assert paths <= set(document["paths"])


def test_no_code_of_ours_leaves_a_component_unused(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for kind in ("schemas", "headers", "parameters"):
        for name in document["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, f"nothing refers to {kind}/{name}"


def test_no_schema_has_its_modules_in_its_name(document: dict[str, Any]) -> None:
    """Pydantic writes the module of two classes that are called the same: no name for a generated client."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_the_text_under_a_field_is_its_description(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "description" in schemas["ReviewShown"]["properties"]["unapprovable_since"]
    assert "description" in schemas["Confirmation"]["properties"]["hold"]
    silent = {
        model.__name__
        for model in subclasses(BaseModel)
        if model.__name__ in schemas
        and model.__module__.startswith(("services.", "shared."))
        and not model.model_config.get("use_attribute_docstrings")
    }
    assert not silent, "take Body, Shown or Contract as the base"


def subclasses(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def test_what_is_changed_as_it_was_read_answers_its_new_version(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if "If-Match" not in {one.get("name") for one in operation.get("parameters", [])}:
            continue
        for status in {"200", "201"} & set(operation["responses"]):
            assert "ETag" in operation["responses"][status]["headers"], f"{name}: {status}"


NAMED_IN_THE_BODY = {"POST /v1/revocations", "POST /v1/inventory/confirm"}
"""Routes that answer 404 for what their body names."""


def test_statuses_follow_from_what_a_route_declares(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        problems = {status for status in operation["responses"] if status >= "400"}
        assert {"400", "401", "403", "422", "503"} <= problems, name
        assert ("404" in problems) == ("{" in name or name in NAMED_IN_THE_BODY), name
        headers = {one.get("name") for one in operation.get("parameters", [])}
        assert ({"412", "428"} <= problems) == ("If-Match" in headers), name
        assert ("415" in problems) == name.startswith(("POST", "PUT")), name


def test_every_success_has_a_schema_that_says_something(document: dict[str, Any]) -> None:
    empty = set()
    for name, operation in operations(document):
        successes = {status: one for status, one in operation["responses"].items() if status < "300"}
        assert successes, name
        for status, answer in successes.items():
            schemas = [media["schema"] for media in answer.get("content", {}).values()]
            if status != "204" and not (schemas and all(_says_something(schema) for schema in schemas)):
                empty.add(operation["tags"][0])
    assert not empty


def _says_something(schema: dict[str, Any]) -> bool:
    return "$ref" in schema or "properties" in schema or "description" in schema


def test_lists_are_pages_and_speak_one_vocabulary(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if not operation["operationId"].startswith("list_"):
            continue
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        page = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        assert set(page["required"]) == {"items", "next_cursor"}, name
        asked = {one["name"] for one in operation.get("parameters", []) if one.get("in") == "query"}
        assert asked <= VOCABULARY, f"{name}: {asked - VOCABULARY}"


VOCABULARY = {
    "cursor", "limit", "ticket_id", "account_id", "user_id", "name", "state", "since", "until", "type",
    "mine", "waiting_for",  # whose
    "registered",  # also what AWS has and JIT has not
    "actor",  # the audit log's own
}  # fmt: skip


def test_two_services_cannot_mean_different_things_by_one_name() -> None:
    def one(schema: dict[str, Any], operation: str = "read") -> dict[str, Any]:
        operations = {"get": {"operationId": operation, "tags": ["x"]}}
        return {"paths": {f"/{operation}": operations}, "components": {"schemas": {"A": schema}}, "tags": []}

    with pytest.raises(Clash, match="schemas of b: A"):
        combine({"a": one({"type": "string"}), "b": one({"type": "integer"}, "write")})
    other = one({})
    other["paths"] = {"/other": other["paths"]["/read"]}
    with pytest.raises(Clash, match="two operations are called read"):
        combine({"a": one({}), "b": other})
