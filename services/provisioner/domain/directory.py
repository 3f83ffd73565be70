"""What is found by the beginning of its name: people, groups, OUs and tags. Pure, over a snapshot.

In the order of names, behind a place that the page before ended at. Who may look is the routes' business.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from shared.contracts.documents import Account, Document, Group, OrganizationalUnit, User
from shared.foundation.errors import FieldError, Invalid
from shared.policy.directory import name_order
from shared.policy.snapshot import Snapshot
from shared.policy.tags import tag_selector

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that accounts have, and how many."""

    key: str
    value: str
    accounts: int

    @property
    def selector(self) -> str:
        return tag_selector(self.key, self.value)


def find_users(snapshot: Snapshot, beginning: str, *, after: str | None, limit: int) -> list[User]:
    """Those whose user name, e-mail or display name begins so; `after` is a user id."""
    wanted = beginning.casefold()
    found = _behind(snapshot, User, after)
    return list(islice((user for user in found if _begins(user, wanted)), limit))


def find_groups(snapshot: Snapshot, beginning: str, *, after: str | None, limit: int) -> list[Group]:
    """Those whose name begins so; `after` is a group id."""
    wanted = beginning.casefold()
    found = _behind(snapshot, Group, after)
    return list(islice((one for one in found if one.name.casefold().startswith(wanted)), limit))


def find_ous(
    snapshot: Snapshot, beginning: str, *, after: str | None, limit: int
) -> list[OrganizationalUnit]:
    """Those whose name begins so; `after` is an OU's id."""
    wanted = beginning.casefold()
    found = _behind(snapshot, OrganizationalUnit, after)
    return list(islice((one for one in found if one.name.casefold().startswith(wanted)), limit))


def find_tags(snapshot: Snapshot, beginning: str, *, after: str | None, limit: int) -> list[Tag]:
    """Those whose `key=value` begins so, in the order of their selectors; `after` is a selector."""
    wanted = beginning.casefold()
    counts = Counter(tag for account in snapshot.all(Account) for tag in account.tags.items())
    tags = [
        Tag(key, value, count)
        for (key, value), count in counts.items()
        if f"{key}={value}".casefold().startswith(wanted)
    ]
    tags.sort(key=lambda tag: tag.selector)
    return tags[bisect_right(tags, after or "", key=lambda tag: tag.selector) :][:limit]


def path_of(snapshot: Snapshot, unit: OrganizationalUnit) -> list[str]:
    """Names from the root down to the unit: units under different parents share names."""
    names: list[str] = []
    above: OrganizationalUnit | None = unit
    while above is not None and len(names) < _DEEPEST:
        names.append(above.name)
        above = snapshot.get(OrganizationalUnit, above.parent) if above.parent else None
    return names[::-1]


_DEEPEST = 20
"""AWS allows five levels; a circle of parents must not hold us."""


def _behind(snapshot: Snapshot, kind: type[D], after: str | None) -> Iterator[D]:
    """All by name, from behind the one with that id on."""
    every = snapshot.by_name(kind)
    start = bisect_right(every, _place_of(snapshot, kind, after), key=name_order) if after else 0
    return islice(every, start, None)


def _place_of(snapshot: Snapshot, kind: type[D], document_id: str) -> tuple[str, str]:
    """Nothing is kept of what is deleted, so nobody knows any more where it stood."""
    last = snapshot.get(kind, document_id)
    if last is None:
        sentence = "what the page before ended with is gone since: begin again without a cursor"
        raise Invalid(sentence, code="cursor_gone", fields=[FieldError("cursor", "cursor_gone", sentence)])
    return name_order(last)


def _begins(user: User, wanted: str) -> bool:
    fields = (user.user_name, user.email or "", user.display_name)
    return any(field.casefold().startswith(wanted) for field in fields)
