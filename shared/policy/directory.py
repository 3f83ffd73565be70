"""Users, groups and set groups by what one looks them up with; kept up to date document by document.

No decisions here. World (shared/policy/world.py) feeds it and builds the sets of an ask from it.
"""

from collections.abc import Iterable, Iterator
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal

from shared.contracts.documents import User

Lookup = Literal["external_id", "user_name", "email"]
"""By what an issuer's claim names a user."""

_ASCII_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_Handle = tuple[Lookup, str, str]


class Memberships:
    """Containers and their members, with the way back kept as they change."""

    def __init__(self) -> None:
        self._members: dict[str, frozenset[str]] = {}
        self._containers: dict[str, frozenset[str]] = {}

    def put(self, container: str, members: Iterable[str]) -> None:
        """Set a container's members; no members removes it."""
        old, new = self.members(container), frozenset(members)
        for member in old - new:
            self._contain(member, self.containers(member) - {container})
        for member in new - old:
            self._contain(member, self.containers(member) | {container})
        if new:
            self._members[container] = new
        else:
            self._members.pop(container, None)

    def members(self, container: str) -> frozenset[str]:
        return self._members.get(container, frozenset())

    def containers(self, member: str) -> frozenset[str]:
        return self._containers.get(member, frozenset())

    def _contain(self, member: str, containers: frozenset[str]) -> None:
        if containers:
            self._containers[member] = containers
        else:
            self._containers.pop(member, None)


class Directory:
    """Users by id and by the handles under which tokens name them."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._by_handle: dict[_Handle, frozenset[str]] = {}

    def put(self, user: User) -> None:
        """Know the user as the document says; a deleted one not at all."""
        for handle in _handles(self._users.pop(user.id, None)):
            self._set(handle, self._by_handle[handle] - {user.id})
        if user.deleted:
            return
        self._users[user.id] = user
        for handle in _handles(user):
            self._set(handle, self._by_handle.get(handle, frozenset()) | {user.id})

    def get(self, user_id: str) -> User | None:
        return self._users.get(user_id)

    def find(self, lookup: Lookup, value: str, *, issuer: str = "") -> list[User]:
        """Every user, enabled or not, with that handle; `issuer` counts for external ids only."""
        handle = _handle(lookup, value, issuer)
        return [self._users[user_id] for user_id in sorted(self._by_handle.get(handle, ()))]

    def _set(self, handle: _Handle, user_ids: frozenset[str]) -> None:
        if user_ids:
            self._by_handle[handle] = user_ids
        else:
            self._by_handle.pop(handle, None)


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
