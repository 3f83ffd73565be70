"""Which account, permission set, set group or person somebody means by an id, a name, an ARN or an e-mail.

Pure, over a snapshot, and the only place that knows. What a text means does not depend on who wrote it:
everything that has the name counts, also what they may not request. What they are told does: of what they
could not list themselves an answer says nothing.
"""

import difflib
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final, Literal, TypeAlias

from shared.contracts.documents import Account, PermissionSet, SetGroup, User
from shared.policy.directory import name_of, name_order
from shared.policy.rights import may_configure, may_find_users
from shared.policy.snapshot import Snapshot

LONGEST: Final = 256
"""Characters of a name or ARN; AWS's own are shorter."""

Named: TypeAlias = Account | PermissionSet | SetGroup | User
Kind: TypeAlias = type[Named]

_ACCOUNT: Final = re.compile(
    r"(?:arn:aws[a-z-]*:organizations::[0-9]{12}:account/o-[a-z0-9]{10,32}/)?(?P<id>[0-9]{12})"
)
"""Twelve digits are always an id, also of an account that is not there: a name must not pass for it."""
_SHOWN: Final = 100
"""Characters of what somebody wrote that an answer repeats."""
_LISTED: Final = 10
"""Candidates named in one answer."""
_HINTS: Final = 5
"""Texts of one reader that are compared with what is there: that is slow."""
_COMPARED: Final = 2000
_NOUNS: Final[dict[Kind, str]] = {
    Account: "account",
    PermissionSet: "permission set",
    SetGroup: "set group",
    User: "user",
}
_UNKNOWN: Final[dict[Kind, tuple[str, str]]] = {
    Account: ("no account {} is registered with JIT", "an administrator can register it"),
    PermissionSet: ("no permission set {} is registered with JIT", "an administrator can register it"),
    SetGroup: ("there is no set group {}", "give its id or its name"),
    User: ("there is no user {} in the Identity Store", "give a user name, an e-mail or a user id"),
}


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A text that does not mean exactly one thing, with a sentence for whoever wrote it."""

    problem: Literal["unknown", "ambiguous"]
    detail: str


def meant(snapshot: Snapshot, kind: Kind, text: str) -> frozenset[str]:
    """Ids of everything of that kind that the text may stand for.

    An id stands for itself alone, also when what it named is gone. Else everything that has the text as
    a name counts: user names and e-mails without case (ASCII, as in tokens), all other names exactly.
    """
    if (found := _as_id(snapshot, kind, text)) is not None:
        return frozenset({found})
    if kind is not User:
        return snapshot.called(kind, text)
    by_name, by_email = snapshot.find_user("user_name", text), snapshot.find_user("email", text)
    return frozenset(user.id for user in (*by_name, *by_email))


def _as_id(snapshot: Snapshot, kind: Kind, text: str) -> str | None:
    if kind is Account:
        match = _ACCOUNT.fullmatch(text)
        return match["id"] if match else None
    if kind is PermissionSet and text.startswith("arn:"):
        set_id = text.rpartition("/")[2]
        found = snapshot.get(PermissionSet, set_id)
        gone = found is None and snapshot.knows(PermissionSet, set_id)
        return set_id if gone or (found is not None and found.arn == text) else None
    return text if snapshot.knows(kind, text) else None


@dataclass
class NameReader:
    """Reads what one person wrote in one request, and answers in words they may be given."""

    snapshot: Snapshot
    user_id: str
    now: datetime
    _hints: int = field(default=_HINTS, init=False)

    def resolve(self, kind: Kind, text: str) -> str | Unresolved:
        """The id of the one thing the text means."""
        ids = meant(self.snapshot, kind, text)
        if _as_id(self.snapshot, kind, text) is None and not self._may_know(kind, ids):
            return self.unknown(kind, text)
        return self._ambiguous(kind, text, ids) if len(ids) > 1 else next(iter(ids))

    def unknown(self, kind: Kind, text: str) -> Unresolved:
        """That there is no such thing, or that it is not registered, with the nearest they may know."""
        sentence, otherwise = _UNKNOWN[kind]
        there = [one for one in meant(self.snapshot, kind, text) if self.sees(kind, one)]
        found = self.snapshot.get(kind, there[0]) if len(there) == 1 else None
        if found is not None:
            return Unresolved("unknown", f"{sentence.format(label(found))}; {otherwise}")
        near = self._nearest(kind, text)
        hint = f"did you mean {label(near)}?" if near else otherwise
        return Unresolved("unknown", f"{sentence.format(text[:_SHOWN])}; {hint}")

    def sees(self, kind: Kind, document_id: str) -> bool:
        """Whether they could list it: everybody lists what is registered, few people the rest."""
        if kind is User:
            return document_id == self.user_id or self._finds_users
        return self._is_registered(kind, document_id) or self._configures

    def _may_know(self, kind: Kind, ids: Collection[str]) -> bool:
        """Whether there is something that they may use. Anybody may use a person's name, as in a mail."""
        return bool(ids) if kind is User else any(self.sees(kind, one) for one in ids)

    def _ambiguous(self, kind: Kind, text: str, ids: Collection[str]) -> Unresolved:
        """Lists what they could list themselves, and counts the rest."""
        found = (self.snapshot.get(kind, one) for one in sorted(ids) if self.sees(kind, one))
        listed = [label(one) for one in found if one is not None][:_LISTED]
        if listed and len(listed) < len(ids):
            listed.append(f"{len(ids) - len(listed)} more")
        which = f": {', '.join(listed)}" if listed else ""
        sentence = f"{text[:_SHOWN]} names {len(ids)} {_NOUNS[kind]}s{which}; give the id instead"
        return Unresolved("ambiguous", sentence)

    def _nearest(self, kind: Kind, text: str) -> Named | None:
        if not self._hints or _as_id(self.snapshot, kind, text) is not None:
            return None
        self._hints -= 1
        wanted = text[:_SHOWN].casefold()
        every = self.snapshot.by_name(kind)
        at = bisect_left(every, (wanted, ""), key=name_order)
        around = every[max(0, at - _COMPARED // 2) : at + _COMPARED // 2]
        known = {name: one for one in around if self._is_hinted_at(one) for name in _spellings(one)}
        near = difflib.get_close_matches(wanted, known, n=1)
        return known[near[0]] if near else None

    def _is_hinted_at(self, one: Named) -> bool:
        if isinstance(one, User):
            return one.enabled and self.sees(User, one.id)
        return self._is_registered(type(one), one.id)

    def _is_registered(self, kind: Kind, document_id: str) -> bool:
        if kind is Account:
            return self.snapshot.registered_account(document_id) is not None
        return kind is SetGroup or self.snapshot.registered_set(document_id) is not None

    @cached_property
    def _configures(self) -> bool:
        return may_configure(self.snapshot, self.user_id, now=self.now)

    @cached_property
    def _finds_users(self) -> bool:
        return may_find_users(self.snapshot, self.user_id, now=self.now)


def label(one: Named) -> str:
    """Its name and its id, as every answer shows them."""
    return f"{name_of(one)} ({one.id})"


def _spellings(one: Named) -> Iterator[str]:
    """What it can be called, compared without case: another case is the nearest there is."""
    yield name_of(one).casefold()
    if isinstance(one, User) and one.email:
        yield one.email.casefold()
