"""Several things of one kind in one mail: what they share is shown once, the rest beside each. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.notifier.domain.content import LINE, SHOWN, ContentRow, at_most, cut

LONGEST = 2 * LINE
"""Characters of one line of a list: a name and what differs."""


@dataclass(frozen=True)
class ListedItem:
    """One thing of a list, by its name, with the rows about it."""

    name: str
    rows: tuple[ContentRow, ...] = ()


def item(name: str, rows: Iterable[ContentRow | None]) -> ListedItem:
    """Rows without a value are left out."""
    return ListedItem(name, tuple(one for one in rows if one is not None and any(one.lines)))


def list_items(label: str, items: Sequence[ListedItem]) -> list[ContentRow]:
    """A row that names them all, then the rows they share. A single one shares all of its rows."""
    shared = [one for one in items[0].rows if all(one in other.rows for other in items)]
    lines = dict.fromkeys(_line(one, shared) for one in items)
    return [ContentRow(label, at_most(tuple(lines), SHOWN)), *shared]


def _line(one: ListedItem, shared: Sequence[ContentRow]) -> str:
    own = [f"{row.label}: {', '.join(row.lines)}" for row in one.rows if row not in shared]
    return cut(f"{one.name} ({'; '.join(own)})" if own else one.name, LONGEST)
