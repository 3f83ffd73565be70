"""Bodies are not guessed at: what the document calls a truth value or a number is one, or is refused."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from cli.api import SERVICES
from shared.configuration.kinds.rule import RuleBody
from shared.foundation.shapes import Body

for service in SERVICES:
    importlib.import_module(f"services.{service}.__main__")


def bodies(cls: type[Body] = Body) -> Iterator[type[Body]]:
    """Every body of the project."""
    for found in cls.__subclasses__():
        yield found
        yield from bodies(found)


BARE = [
    (body, name)
    for body in sorted(set(bodies()), key=lambda body: body.__qualname__)
    for name, field in body.model_fields.items()
    if field.annotation in {bool, int}
]


@pytest.mark.parametrize(("body", "name"), BARE, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("value", ["1", "true", "yes", 1.0], ids=repr)
def test_look_alike_of_a_truth_value_or_number_is_refused(body: type[Body], name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        body.model_validate({name: value})
    assert {one["type"] for one in refused.value.errors() if one["loc"] == (name,)} & {
        "bool_type",
        "int_type",
    }


def test_number_is_no_truth_value_and_a_truth_value_no_number() -> None:
    with pytest.raises(ValidationError) as refused:
        RuleBody.model_validate({"always": 1, "stages": [{"approvers": ["user:x"], "needed": True}]})
    found = {one["loc"]: one["type"] for one in refused.value.errors()}
    assert found["always",] == "bool_type"
    assert found["stages", 0, "needed"] == "int_type"
