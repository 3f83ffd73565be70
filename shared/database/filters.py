"""The SQL of a list, from the filters that are given: fixed pieces, chosen by which values are there.

What holds, and tests/shared/test_filters.py checks:
- A text is put together of pieces that stand in the code as they are: a template and its conditions. No value
  becomes text; each goes to the server as a parameter.
- A filter that is left out is not in the text. So each set of filters has one text, whose plan fits whatever
  the values are. (One text for all sets, `$1 IS NULL OR …`, has a plan that fits none.)
- A word of ours of which rows have very different shares (a state) may stand in the text, out of a table of
  pieces: PostgreSQL then knows whether few rows have it or most.
- A page and its count that are made from one `Where` have the same conditions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString, TypeAlias

Condition: TypeAlias = tuple[LiteralString, *tuple[object, ...]]
"""SQL with `{}` wherever a value belongs, and the values in that order."""


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that must all hold, with their values in order; without any, everything fits."""

    conditions: tuple[LiteralString, ...] = ()
    values: tuple[object, ...] = ()


def given(*filters: Condition | None) -> Where:
    """The conditions that are there and of which no value is None, in the order of the list."""
    chosen = [one for one in filters if one and all(value is not None for value in one[1:])]
    return Where(tuple(one[0] for one in chosen), tuple(value for one in chosen for value in one[1:]))


def one_of(pieces: Mapping[str, LiteralString], word: str | None) -> Condition | None:
    """The condition for a word of ours, which is in the table; None where none is asked for."""
    return None if word is None else (pieces[word],)


def query(template: LiteralString, where: Where, **more: object) -> tuple[str, *tuple[object, ...]]:
    """The text and its parameters, as `conn.fetch(*query(…))` takes them.

    The template has `{where}` for the conditions, and each of `more` by its name for one more value.
    """
    places = [f"${number}" for number in range(1, len(where.values) + 1)]
    conditions = " AND ".join(where.conditions).format(*places) or "true"
    names = {name: f"${number}" for number, name in enumerate(more, len(where.values) + 1)}
    values: tuple[object, ...] = (*where.values, *more.values())
    return template.format(where=conditions, **names), *values
