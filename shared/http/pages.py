"""Lists in pages: one shape, and a cursor that is opaque to whoever passes it back.

A list is asked for one item more than the page holds, so that there is never a cursor to nothing.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from shared.foundation.shapes import Shown
from shared.text.refusals import refused

ItemT = TypeVar("ItemT")
Position: TypeAlias = str | int
"""Where an item stands in its list: its id, or its number."""


class Page(Shown, Generic[ItemT]):
    """A part of a list. Pass `next_cursor` as `cursor` to get the next part; it is null at the end."""

    items: list[ItemT]
    next_cursor: str | None = Field(description="null on the last page")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{params[0].__name__}Page"


LONGEST_CURSOR: Final = 1000
"""Characters; ours have a position of at most 256 in them."""


def cut(
    found: Sequence[ItemT], limit: int, position: Callable[[ItemT], Position]
) -> tuple[list[ItemT], str | None]:
    """The page's items and the cursor of the next page, out of up to `limit + 1` that were found."""
    items = list(found[:limit])
    return items, encode_cursor(position(items[-1])) if len(found) > limit else None


def encode_cursor(position: Position) -> str:
    return urlsafe_b64encode(json.dumps([position]).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Position:
    if len(cursor) > LONGEST_CURSOR:
        raise _not_a_cursor()
    try:
        decoded = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise _not_a_cursor() from None
    position = decoded[0] if isinstance(decoded, list) and len(decoded) == 1 else None
    if isinstance(position, bool) or not isinstance(position, str | int):
        raise _not_a_cursor()
    return position


def _text(cursor: str) -> str:
    position = _decode(cursor)
    if not isinstance(position, str) or not position.isprintable():
        raise _not_a_cursor()
    return position


def _id(cursor: str) -> str:
    try:
        return str(UUID(_text(cursor)))
    except ValueError:
        raise _not_a_cursor() from None


def _number(cursor: str) -> int:
    position = _decode(cursor)
    if not isinstance(position, int) or not 0 <= position < 2**63:
        raise _not_a_cursor()
    return position


def _not_a_cursor() -> Exception:
    return refused(
        "cursor_invalid",
        "this is no cursor of this list: take next_cursor of the page before, or leave it out",
    )


_ASKED = Query(description="`next_cursor` of the page before; leave it out for the first page")
IdCursor: TypeAlias = Annotated[
    str | None, _ASKED, AfterValidator(lambda given: None if given is None else _id(given))
]
"""Behind the item with this id (a UUID)."""
NameCursor: TypeAlias = Annotated[
    str | None, _ASKED, AfterValidator(lambda given: None if given is None else _text(given))
]
"""Behind the item with this id, where ids are names."""
NumberCursor: TypeAlias = Annotated[
    int | None,
    _ASKED,
    BeforeValidator(lambda given: None if given is None else _number(given)),
    WithJsonSchema({"type": "string"}),
]
"""Behind the item with this number."""
