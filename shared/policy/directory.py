"""Users, groups and set groups by what one looks them up with. Immutable: a change gives another one.

No decisions here. Snapshot (shared/policy/snapshot.py) holds them and builds the sets of an ask from them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal, TypeAlias, TypeVar

from rpds import HashTrieMap

from shared.contracts.documents import Document, User

Lookup = Literal["external_id", "user_name", "email"]
"""By what an issuer's claim names a user."""

K = TypeVar("K")

_ASCII_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_NONE: Final[frozenset[str]] = frozenset()
_Handle = tuple[Lookup, str, str]
_Sets: TypeAlias = "HashTrieMap[str, frozenset[str]]"


@dataclass(frozen=True, slots=True)
class Memberships:
    """Containers and their members, with the way back. Parts of a container share no member."""

    _members: _Sets = field(default_factory=HashTrieMap, repr=False)
    _containers: _Sets = field(default_factory=HashTrieMap, repr=False)

    def put(self, part: str, members: Iterable[str], *, of: str | None = None) -> "Memberships":
        """With these members in the container, or in that part of the container `of`; none removes it."""
        container = part if of is None else of
        before, after = self.members(part), frozenset(members)
        containers = self._containers
        for member in before - after:
            containers = _set(containers, member, self.containers(member) - {container})
        for member in after - before:
            containers = _set(containers, member, self.containers(member) | {container})
        return Memberships(_set(self._members, part, after), containers)

    def members(self, part: str) -> frozenset[str]:
        return self._members.get(part, _NONE)

    def containers(self, member: str) -> frozenset[str]:
        return self._containers.get(member, _NONE)


@dataclass(frozen=True, slots=True)
class Directory:
    """Users by id and by the handles under which tokens name them."""

    _users: "HashTrieMap[str, User]" = field(default_factory=HashTrieMap, repr=False)
    _by_handle: "HashTrieMap[_Handle, frozenset[str]]" = field(default_factory=HashTrieMap, repr=False)

    def put(self, user: User) -> "Directory":
        """With the user as the document says."""
        by_handle = self._without_handles(user.id)
        for handle in _handles(user):
            by_handle = _set(by_handle, handle, by_handle.get(handle, _NONE) | {user.id})
        return Directory(self._users.insert(user.id, user), by_handle)

    def remove(self, user_id: str) -> "Directory":
        """Without that user."""
        return Directory(self._users.discard(user_id), self._without_handles(user_id))

    def get(self, user_id: str) -> User | None:
        return self._users.get(user_id)

    def find(self, lookup: Lookup, value: str, *, issuer: str = "") -> list[User]:
        """Every user, enabled or not, with that handle; `issuer` counts for external ids only."""
        handle = _handle(lookup, value, issuer)
        return [self._users[user_id] for user_id in sorted(self._by_handle.get(handle, _NONE))]

    def _without_handles(self, user_id: str) -> "HashTrieMap[_Handle, frozenset[str]]":
        by_handle = self._by_handle
        for handle in _handles(self._users.get(user_id)):
            by_handle = _set(by_handle, handle, by_handle[handle] - {user_id})
        return by_handle


def name_of(document: Document) -> str:
    """What people call it; its id where it has no name."""
    return str(getattr(document, "user_name", None) or getattr(document, "name", None) or document.id)


def name_order(document: Document) -> tuple[str, str]:
    """By name, small and capital letters alike; the id decides between equal names."""
    return name_of(document).casefold(), document.id


def _set(
    sets: "HashTrieMap[K, frozenset[str]]", key: K, members: frozenset[str]
) -> "HashTrieMap[K, frozenset[str]]":
    return sets.insert(key, members) if members else sets.discard(key)


def _handles(user: User | None) -> Iterator[_Handle]:
    if user is None:
        return
    yield _handle("user_name", user.user_name, "")
    if user.email:
        yield _handle("email", user.email, "")
    # A repeated external id is one handle: it must not be taken away twice.
    for external in dict.fromkeys((external.id, external.issuer) for external in user.external_ids):
        yield _handle("external_id", *external)


def _handle(lookup: Lookup, value: str, issuer: str) -> _Handle:
    """Names compare without case in ASCII only: full folding would let one letter pass for another."""
    if lookup == "external_id":
        return lookup, value, issuer
    return lookup, value.translate(_ASCII_LOWER), ""
