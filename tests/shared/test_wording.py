"""Shape errors in our words: no code and no sentence of pydantic's leaves the API."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import pytest
from fastapi import APIRouter, Header, Path
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from shared.http.places import find
from shared.http.wording import OTHERWISE, WORDS, field_error, nearest
from shared.text.durations import Duration
from shared.text.moments import Moment
from shared.text.texts import Line


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Target(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: str = Field(pattern=r"^[0-9]{12}$", description="12 digits")


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    targets: list[Target] = Field(default=[], max_length=2)
    labels: dict[Annotated[str, Field(max_length=3)], Line] = {}
    duration: Duration | None = None
    at: Moment | None = None
    colour: Colour | Literal["blue"] = Colour.RED
    id: UUID | None = None
    count: int = Field(default=1, ge=1, le=9)
    sure: bool = False
    either: Target | int | None = None

    @model_validator(mode="after")
    def _not_both(self) -> "Asked":
        if self.at and self.duration:
            raise ValueError("give at or duration, not both")
        return self


router = APIRouter()


@router.post("/asked/{name}")
async def ask(
    name: Annotated[str, Path(max_length=3)], body: Asked, token: Annotated[str, Header()]
) -> None: ...


ROUTE = next(route for route in router.routes if isinstance(route, APIRoute))


def errors(body: Any) -> list[tuple[str, str, str]]:
    """What is answered to a body: field, code, sentence."""
    try:
        TypeAdapter(Asked).validate_python(body)
    except ValidationError as refused:
        found = [{**one, "loc": ("body", *one["loc"])} for one in refused.errors()]
        return [
            (e.field, e.code, e.detail) for e in (field_error(one, find(ROUTE, one["loc"])) for one in found)
        ]
    return []


@pytest.mark.parametrize(
    ("body", "field", "code", "hint"),
    [
        ({"duraton": "PT1H"}, "/duraton", "unknown_field", "did you mean duration?"),
        ({"targets": [{"acount": "1" * 12}]}, "/targets/0/acount", "unknown_field", "did you mean account?"),
        ({"xyzzy": 1}, "/xyzzy", "unknown_field", "known are at, colour, count"),
        ({"a/b~c": 1}, "/a~1b~0c", "unknown_field", "known are"),
        ({"targets": [{"account": "prod"}]}, "/targets/0/account", "wrong_form", "12 digits"),
        ({"targets": [{}]}, "/targets/0/account", "required", "12 digits"),
        ({"targets": [{"account": "1" * 12}] * 3}, "/targets", "too_many", "at most 2"),
        ({"targets": {}}, "/targets", "wrong_type", "a list"),
        ({"targets": [1]}, "/targets/0", "wrong_type", "JSON object"),
        ({"labels": {"long": "x"}}, "/labels/long", "too_long", "at most 3"),
        ({"labels": {"a": " "}}, "/labels/a", "empty", "write something"),
        ({"labels": {"a": "\u202e"}}, "/labels/a", "character_refused", "U+202E"),
        ({"duration": "P1M"}, "/duration", "duration_of_the_calendar", "P30D"),
        ({"at": "2026-03-02T09:00:00"}, "/at", "moment_without_zone", "2026-03-02T09:00:00Z"),
        ({"at": "tomorrow"}, "/at", "moment_invalid", "2026-03-02T09:00:00Z"),
        ({"at": 1700000000}, "/at", "moment_invalid", "2026-03-02T09:00:00Z"),
        ({"at": "1700000000"}, "/at", "moment_invalid", "2026-03-02T09:00:00Z"),
        ({"at": "9999-12-31T23:59:59-12:00"}, "/at", "moment_out_of_range", "calendar"),
        ({"id": "prod"}, "/id", "id_invalid", "as JIT gave it"),
        ({"count": 0}, "/count", "too_small", "1 or more"),
        ({"count": 10}, "/count", "too_large", "9 or less"),
        ({"count": "many"}, "/count", "wrong_type", "whole number"),
        ({"count": 10**5000}, "/count", "too_large", ""),
        ({"sure": "perhaps"}, "/sure", "wrong_type", "true or false"),
        ({"either": {"account": "1"}}, "/either/account", "wrong_form", "12 digits"),
        ({"at": "2026-03-02T09:00:00Z", "duration": "1h"}, "", "invalid_value", "not both"),
        ([], "", "wrong_type", "JSON object"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_meant(body: Any, field: str, code: str, hint: str) -> None:
    found = {(name, error): sentence for name, error, sentence in errors(body)}
    assert hint in found[field, code], found


def test_a_choice_lists_what_can_be_chosen() -> None:
    body = errors({"colour": "gren"})
    assert {(field, code) for field, code, _ in body} == {("/colour", "not_a_choice")}
    assert any("red, green; did you mean green?" in sentence for _, _, sentence in body)


@pytest.mark.parametrize(
    ("loc", "name"), [(("path", "name"), "name"), (("header", "token"), "token"), ((), "")]
)
def test_parameters_are_named_as_they_are_sent(loc: tuple[str, ...], name: str) -> None:
    assert find(ROUTE, loc).name == name


def test_a_place_without_its_route_is_still_named() -> None:
    assert find(None, ("body", "a", 0)).name == "/a/0"
    assert find(None, ("query", "a")).name == "a"


CONTEXT = {
    "gt": 1, "ge": 1, "lt": 1, "le": 1, "multiple_of": 1, "min_length": 1, "max_length": 1,
    "actual_length": 1,
    "field_type": "List", "expected": "'a' or 'b'", "pattern": "secret-pattern", "error": "our sentence",
    "class_name": "Secret", "class": "Secret", "tz_expected": 1, "tz_actual": 1, "discriminator": "x",
    "tag": "x",
    "expected_tags": "x", "expected_schemes": "x", "max_digits": 1, "decimal_places": 1, "whole_digits": 1,
    "expected_version": 4, "key": "x", "encoding": "x", "encoding_error": "x", "mapping_type": "x",
    "method_name": "x", "expected_plural": "", "name": "x", "attribute": "x",
}  # fmt: skip


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_no_code_and_no_sentence_of_pydantics_leaves(kind: str) -> None:
    said = PydanticKnownError(kind, CONTEXT).message()  # type: ignore[arg-type]
    error = {"type": kind, "loc": ("body", "a"), "msg": said, "ctx": CONTEXT, "input": "x"}
    found = field_error(error, find(ROUTE, ("body", "a")))
    assert found.code != kind or kind in {"too_short", "too_long"}  # common words; theirs are for lists
    assert found.detail != said
    assert "secret" not in found.detail.lower()


def test_the_table_knows_only_errors_that_exist() -> None:
    assert set(WORDS) <= set(get_args(ErrorType))
    assert OTHERWISE[0] == "invalid_value"


def test_the_nearest_name_is_near() -> None:
    assert nearest("Ticket-Id", ["ticket_id", "state"]) == "ticket_id"
    assert nearest("xyzzy", ["ticket_id", "state"]) is None
    assert nearest("a" * 100_000, ["ticket_id"]) is None


def test_a_length_of_time_is_answered_in_one_form() -> None:
    assert Asked(duration=timedelta(days=365)).model_dump(mode="json")["duration"] == "P365D"
