"""What was read of AWS, in parts with their times, and the directory that they make together. Pure.

A part is what one call or one list said. inventory/reading.py reads parts, store/inventory.py keeps them;
what of the directory is believed is domain/inventory.py's to say.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from shared.contracts import documents as doc

DocumentT = TypeVar("DocumentT", bound=doc.Document)

Source = Literal["identitystore", "organizations", "sso-admin"]
"""The API that says it; one that fails or lies says nothing about the others."""
PartKey = tuple[str, str]
"""Kind and id of a part; the id is empty where there is one of its kind."""

SOURCES: Final[Mapping[str, Source]] = {
    "users": "identitystore",
    "groups": "identitystore",
    "members": "identitystore",
    "organisation": "organizations",
    "roots": "organizations",
    "accounts": "organizations",
    "units": "organizations",
    "parent": "organizations",
    "tags": "organizations",
    "sets": "sso-admin",
    "set": "sso-admin",
}
LISTS: Final[tuple[PartKey, ...]] = tuple(
    (kind, "") for kind in ("users", "groups", "organisation", "roots", "accounts", "sets")
)
"""Read anew by every reading."""
DETAILS: Final = ("units", "parent", "tags", "set")
"""One call or several for each unit, account and set: of these a reading takes a slice."""


@dataclass(frozen=True, slots=True)
class Part:
    """`read_at` is when its reading began: the truth is not older than that."""

    kind: str
    id: str
    read_at: datetime
    body: Mapping[str, Any]
    left_out: Mapping[str, str]
    """Rows that cannot be read, by the key of their document, with the reason."""

    @property
    def key(self) -> PartKey:
        return self.kind, self.id


Parts = Mapping[PartKey, Part]


@dataclass(frozen=True, slots=True)
class Directory:
    """The organisation as the parts show it, each part as new as it is."""

    documents: tuple[doc.Document, ...]
    """All with revision 0."""
    withheld: Mapping[str, doc.Document | None]
    """By key, what is there and not wholly known, with what is known of it. It has not disappeared."""
    left_out: Mapping[str, str]
    read_at: Mapping[Source, datetime]
    """Since when all lists of a source were read."""
    people_whole: bool
    """Whether the members of every group are known."""


def directory_of(parts: Parts) -> Directory | None:
    """None as long as a list was never read."""
    if any(key not in parts for key in LISTS):
        return None
    read_at: dict[Source, datetime] = {}
    for part in parts.values():
        if part.kind not in DETAILS:
            source = SOURCES[part.kind]
            read_at[source] = min(part.read_at, read_at.get(source, part.read_at))
    places, unsure_places = _places(parts)
    people, unsure_people = _people(parts)
    sets = [one for arn in arns(parts) for one in _documents(parts, ("set", arn), doc.PermissionSet)]
    left_out = {key: why for part in parts.values() for key, why in part.left_out.items()}
    withheld: dict[str, doc.Document | None] = {
        **dict.fromkeys(left_out),
        **{f"set/{_set_id(arn)}": None for arn in arns(parts) if ("set", arn) not in parts},
        **unsure_places,
        **unsure_people,
    }
    documents = [one for one in (*places, *sets, *people) if one.key not in withheld]
    return Directory(tuple(documents), withheld, left_out, read_at, people_whole=not unsure_people)


def _people(parts: Parts) -> tuple[list[doc.Document], dict[str, doc.Document | None]]:
    """A group of which the members are not known yet is withheld: nobody would be in it."""
    found: list[doc.Document] = [*_documents(parts, ("users", ""), doc.User)]
    withheld: dict[str, doc.Document | None] = {}
    for group in _documents(parts, ("groups", ""), doc.Group):
        members = parts.get(("members", group.id))
        if members is None:
            withheld[group.key] = None
        elif members.body["members"] is not None:  # else deleted since the list was read
            found += [group, *doc.Membership.shards(group.id, members.body["members"])]
    return found, withheld


def _places(parts: Parts) -> tuple[list[doc.Document], dict[str, doc.Document | None]]:
    """Without its tags, or one of its units, an account is withheld: it would escape rules that name them."""
    units = units_of(parts)
    organisation = parts["organisation", ""].body
    found: list[doc.Document] = [*units.values()]
    withheld: dict[str, doc.Document | None] = {}
    for account in accounts_of(parts):
        tags, chain = parts.get(("tags", account.id)), _chain(account, parts, units)
        facts = {
            "ous": chain or (),
            "tags": tags.body["tags"] if tags else {},
            "management": account.id == organisation["management"],
            "delegated_administrator": account.id in organisation["delegated"],
        }
        known = account.model_copy(update=facts)
        if tags is None or chain is None:
            withheld[known.key] = known
        else:
            found.append(known)
    return found, withheld


def units_of(parts: Parts) -> dict[str, doc.OrganizationalUnit]:
    """By id, from the root down, as far as they were read."""
    known = {one.id: one for one in _documents(parts, ("roots", ""), doc.OrganizationalUnit)}
    waiting = list(known)
    while waiting:
        for child in _documents(parts, ("units", waiting.pop()), doc.OrganizationalUnit):
            if child.id not in known:
                known[child.id] = child
                waiting.append(child.id)
    return known


def accounts_of(parts: Parts) -> list[doc.Account]:
    """As the list has them: without tags and flags, and perhaps without units."""
    return _documents(parts, ("accounts", ""), doc.Account)


def groups_of(parts: Parts) -> list[str]:
    """Ids."""
    return [group.id for group in _documents(parts, ("groups", ""), doc.Group)]


def arns(parts: Parts) -> list[str]:
    """Of the permission sets."""
    return list(parts["sets", ""].body["arns"]) if ("sets", "") in parts else []


def wanted(parts: Parts) -> set[PartKey]:
    """All parts that a whole directory is made of, as the lists say now."""
    accounts = accounts_of(parts)
    return {
        *LISTS,
        *(("members", group) for group in groups_of(parts)),
        *(("set", arn) for arn in arns(parts)),
        *(("units", unit) for unit in units_of(parts)),
        *(("tags", account.id) for account in accounts),
        *(("parent", account.id) for account in accounts if not account.ous),
    }


def outdated_units(parts: Parts) -> set[PartKey]:
    """Lists of units in which one must be missing: an account is in a unit that they do not have."""
    known = units_of(parts)
    found = set()
    for account in accounts_of(parts):
        for above, unit in zip(account.ous, account.ous[1:], strict=False):
            if above in known and unit not in known:
                found.add(("units", above))
    return found


@dataclass(frozen=True, slots=True)
class Slice:
    """How much of the details one reading reads."""

    least: int
    """At least so many."""
    share: float
    """And this share of them, so that all are new after 1 / share readings."""
    overdue: datetime
    """And whatever is older than this."""

    def of(self, keys: Collection[PartKey], parts: Parts, done: Collection[PartKey] = ()) -> list[PartKey]:
        """All that were never read, then the oldest of the others; less what was done of it already."""
        missing = [key for key in sorted(keys) if key not in parts]
        known = sorted((key for key in keys if key in parts), key=lambda key: (parts[key].read_at, key))
        overdue = sum(parts[key].read_at < self.overdue for key in known)
        due = max(self.least, math.ceil(len(known) * self.share)) - len(set(keys) & set(done))
        return [*missing, *known[: max(due, overdue)]]


def body_of(documents: Iterable[doc.Document]) -> dict[str, Any]:
    """Documents as the body of a part."""
    return {"documents": [one.model_dump(mode="json") for one in documents]}


def _chain(
    account: doc.Account, parts: Parts, units: Mapping[str, doc.OrganizationalUnit]
) -> tuple[str, ...] | None:
    """Unit ids from the root down to the account's own; None where one of them is not known."""
    chain = account.ous
    if not chain and (parent := parts.get(("parent", account.id))) is not None:
        chain = _above(parent.body["parent"], units)
    return chain if chain and all(unit in units for unit in chain) else None


def _above(unit: str, units: Mapping[str, doc.OrganizationalUnit]) -> tuple[str, ...]:
    chain = [unit]
    while (found := units.get(chain[0])) is not None and found.parent is not None:
        chain.insert(0, found.parent)
    return tuple(chain)


def _documents(parts: Parts, key: PartKey, cls: type[DocumentT]) -> list[DocumentT]:
    part = parts.get(key)
    return [cls.model_validate(body) for body in part.body["documents"]] if part else []


def _set_id(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
