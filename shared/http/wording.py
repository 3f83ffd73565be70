"""What is wrong with a field, in our words: a stable code, and a sentence that says what was probably meant.

One table from pydantic's error types; none of its codes and sentences is part of the API. Codes that are not
pydantic's are our own validators' (shared/text) and pass as they are.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from pydantic_core.core_schema import ErrorType

from shared.foundation.errors import FieldError
from shared.http.places import Place
from shared.text.moments import EXAMPLE

OTHERWISE: Final = ("invalid_value", "this value cannot be used here")

_TEXT: Final = ("wrong_type", "this must be a text")
_NUMBER: Final = ("wrong_type", "this must be a number")
_WHOLE: Final = ("wrong_type", "this must be a whole number")
_BOOL: Final = ("wrong_type", "this must be true or false")
_LIST: Final = ("wrong_type", "this must be a list")
_OBJECT: Final = ("wrong_type", "this must be a JSON object")
_MOMENT: Final = ("moment_invalid", f"write a time with its zone, such as {EXAMPLE}")
_ID: Final = (
    "id_invalid",
    "this is not an id: take it as JIT gave it, such as 01890000-0000-7000-8000-000000000000",
)

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("required", "this is required"),
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "string_too_short": ("too_short", "this must have at least {min_length} character(s)"),
    "string_too_long": ("too_long", "this may have at most {max_length} characters"),
    "string_pattern_mismatch": ("wrong_form", "this does not have the right form"),
    "too_short": ("too_few", "give at least {min_length}"),
    "too_long": ("too_many", "give at most {max_length}"),
    "greater_than": ("too_small", "this must be more than {gt}"),
    "greater_than_equal": ("too_small", "this must be {ge} or more"),
    "less_than": ("too_large", "this must be less than {lt}"),
    "less_than_equal": ("too_large", "this must be {le} or less"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": ("too_large", "this number is too large"),
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_object_invalid": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": ("moment_without_zone", f"say which zone: Z for UTC, or +01:00, such as {EXAMPLE}"),
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "uuid_version": _ID,
}
"""Error type of pydantic -> our code and sentence; what is not in it answers `OTHERWISE`."""

_PYDANTICS: Final = frozenset(get_args(ErrorType))


def field_error(error: Mapping[str, Any], place: Place) -> FieldError:
    """One of pydantic's errors for whoever sent the request."""
    code, sentence = _words(error, place)
    return FieldError(place.name, code, sentence)


def _words(error: Mapping[str, Any], place: Place) -> tuple[str, str]:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown("field", str(error["loc"][-1]), place.siblings)
    if kind in {"enum", "literal_error"}:
        return _choice(str(error.get("input", "")), str(context["expected"]))
    if kind in {"value_error", "assertion_error"}:
        return OTHERWISE[0], str(context.get("error", OTHERWISE[1]))
    if kind not in _PYDANTICS:
        return kind, str(error["msg"])
    code, sentence = WORDS.get(kind, OTHERWISE)
    sentence = sentence.format_map(context)
    return code, f"{sentence}: {place.description}" if place.description else sentence


def unknown(what: str, name: str, known: Iterable[str]) -> tuple[str, str]:
    """For a name nobody knows: the nearest one that is known, or all of them."""
    known = sorted(known)
    if near := nearest(name, known):
        hint = f"did you mean {near}?"
    else:
        hint = f"known are {', '.join(known)}" if known else f"there is no {what} here"
    return f"unknown_{what}", f"there is no {what} {name[:100]}; {hint}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    found = difflib.get_close_matches(name.lower().replace("-", "_")[:100], list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def _choice(given: str, expected: str) -> tuple[str, str]:
    choices = [one.strip("'") for one in expected.replace(" or ", ", ").split(", ")]
    near = nearest(given, choices)
    return "not_a_choice", f"this must be one of: {', '.join(choices)}" + (
        f"; did you mean {near}?" if near else ""
    )
