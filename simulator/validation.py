"""Requests against botocore's own service models: required members, types, lengths, patterns, enums.

Stricter than AWS in one point, on purpose: a member that the operation does not know is refused.
Comes after `wire` has parsed a request and before an operation module sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from simulator.errors import ApiError, invalid_input
from simulator.patterns import compiled

_INPUT_TEXTS = {
    "INPUT_REQUIRED": "You must provide a value for the required parameter.",
    "INVALID_PATTERN": "You provided a value that does not match the required pattern.",
    "INVALID_ENUM": "You specified an invalid value.",
    "MAX_LENGTH_EXCEEDED": "You provided a string parameter that is longer than allowed.",
    "MIN_LENGTH_EXCEEDED": "You provided a string parameter that is shorter than allowed.",
    "MAX_VALUE_EXCEEDED": "You provided a numeric parameter that has a larger value than allowed.",
    "MIN_VALUE_EXCEEDED": "You provided a numeric parameter that has a smaller value than allowed.",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken constraint; `reason` is Organizations' word for it."""

    path: str
    value: str
    constraint: str
    reason: str


def load_model(service: str) -> Any:
    """The model of `service` as botocore packages it, whatever data paths the process has been given."""
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def check(service: str, input_shape: Any, params: dict[str, Any]) -> None:
    """Raise the service's own validation error when `params` does not fit; all violations are named."""
    violations = list(_structure(input_shape, params, "")) if input_shape is not None else []
    if not violations:
        return
    if service == "organizations":
        reason = violations[0].reason
        raise invalid_input(reason, _INPUT_TEXTS[reason])
    details = "; ".join(_sentence(violation) for violation in violations)
    count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected"
    raise ApiError("ValidationException", f"{count}: {details}")


def without_nulls(value: Any) -> Any:
    """AWS reads a null member as an absent one."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _sentence(violation: Violation) -> str:
    return f"{violation.value} at '{violation.path}' failed to satisfy constraint: {violation.constraint}"


def _violations(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    kind = shape.type_name
    if kind == "structure" and shape.is_document_type:
        return  # any JSON will do
    _check_type(kind, value, path)
    if kind == "structure":
        yield from _structure(shape, value, path)
    elif kind == "list":
        yield from _size(shape, len(value), f"Value '{value}'", path, what="length")
        for number, inner in enumerate(value, 1):
            yield from _violations(shape.member, inner, f"{path}.{number}.member")
    elif kind == "map":
        for key, inner in value.items():
            yield from _violations(shape.value, inner, f"{path}.{key}")
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind in {"integer", "long"}:
        yield from _size(shape, value, f"Value '{value}'", path, what="value")


def _structure(shape: Any, params: dict[str, Any], path: str) -> Iterator[Violation]:
    for name in shape.required_members:
        if name not in params:
            yield Violation(_below(path, name), "Value null", "Member must not be null", "INPUT_REQUIRED")
    if shape.is_tagged_union and len(params) != 1:
        yield Violation(path, "Value", "Exactly one member of the union must be set", "INPUT_REQUIRED")
    for name, value in params.items():
        member = shape.members.get(name)
        if member is None:
            constraint = f"Member must be one of {sorted(shape.members)}"
            yield Violation(_below(path, name), f"Unknown member '{name}'", constraint, "INVALID_ENUM")
        else:
            yield from _violations(member, value, _below(path, name))


def _string(shape: Any, value: str, path: str) -> Iterator[Violation]:
    shown = "Value" if shape.metadata.get("sensitive") else f"Value '{value}'"
    yield from _size(shape, len(value), shown, path, what="length")
    if shape.enum and value not in shape.enum:
        allowed = ", ".join(shape.enum)
        yield Violation(path, shown, f"Member must satisfy enum value set: [{allowed}]", "INVALID_ENUM")
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        constraint = f"Member must satisfy regular expression pattern: {pattern}"
        yield Violation(path, shown, constraint, "INVALID_PATTERN")


def _size(shape: Any, size: int, shown: str, path: str, *, what: str) -> Iterator[Violation]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    reason = "LENGTH_EXCEEDED" if what == "length" else "VALUE_EXCEEDED"
    if low is not None and size < low:
        constraint = f"Member must have {what} greater than or equal to {low}"
        yield Violation(path, shown, constraint, f"MIN_{reason}")
    if high is not None and size > high:
        constraint = f"Member must have {what} less than or equal to {high}"
        yield Violation(path, shown, constraint, f"MAX_{reason}")


_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "timestamp": (int, float),
}


def _check_type(kind: str, value: Any, path: str) -> None:
    expected = _TYPES[kind]
    if not isinstance(value, expected) or (kind in {"integer", "long"} and isinstance(value, bool)):
        raise ApiError("SerializationException", f"Member '{path}' can not be converted to a {kind}.")


def _below(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member
