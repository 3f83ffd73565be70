"""What is different between the stored inventory and the directory as read, and what of it to believe. Pure.

A directory of which much disappeared at once is more often half-read than true. What gives rights or removes
people and targets then waits for a person, or a later reading that agrees; what takes rights away does not.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from services.provisioner.domain.readings import Directory, Source
from shared.contracts import documents as doc
from shared.contracts.change import Origin
from shared.contracts.configuration import InventoryConfirmed

KINDS: Final[Mapping[type[doc.Document], Source]] = {
    doc.OrganizationalUnit: "organizations",
    doc.Account: "organizations",
    doc.PermissionSet: "sso-admin",
    doc.User: "identitystore",
    doc.Group: "identitystore",
    doc.Membership: "identitystore",
}
"""The document classes the inventory consists of, and who says them."""
_SOURCES: Final[Mapping[str, Source]] = {cls.KIND: source for cls, source in KINDS.items()}
_ALWAYS_BELIEVED: Final = 5
"""So few may vanish at once whatever their share: small organisations change too. But never all of a kind."""


@dataclass(frozen=True, slots=True)
class Guard:
    """How much is believed, and how the age of the directory is counted."""

    share: float = 0.05
    """More than this share of a kind does not disappear at once."""
    agree_after: timedelta = timedelta(hours=1)
    """So long after the first reading a further one that still lacks it is believed."""
    details_within: timedelta = timedelta(hours=1)
    """How old tags, units and sets may be without the directory counting as old."""


GUARD: Final = Guard()


@dataclass(frozen=True, slots=True)
class Missing:
    """What AWS shows no more and the inventory still has: the key of a document, or of one membership."""

    key: str
    found_at: datetime
    confirmed: bool = False
    """Somebody has looked and says that it is gone."""


@dataclass(frozen=True, slots=True)
class Difference:
    changed: tuple[doc.Document, ...]
    """New, or not what they were."""
    removed: tuple[doc.Document, ...]
    """As stored, still live."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is taken over now, and what is not."""

    difference: Difference
    held: tuple[str, ...] = ()
    """Keys of what disappeared and is not believed to be gone; sorted."""
    why: str | None = None
    """A sentence about them."""


Named = Mapping[str, doc.Document]
"""Documents by key."""


def weigh(
    stored: Sequence[doc.Document], directory: Directory, *, share: float, believed: Collection[str] = ()
) -> Weighed:
    """Everything, or where more disappeared than anybody removes at once, only what can do no harm.

    `believed` are keys of what disappeared and is known to be gone. What one source holds back holds back
    nothing of another.
    """
    before = {document.key: document for document in stored}
    after = {document.key: document for document in directory.documents}
    doubted = _lost(before, after, directory.withheld) - frozenset(believed)
    much = _much(before, doubted, share=share)
    left = doc.Membership.KIND in much
    emptied = set() if left else _emptied(before, doubted)
    careful = {_SOURCES[kind] for kind in (*much, *([doc.Group.KIND] if emptied else ()))}
    held = frozenset(
        key
        for key in doubted
        if source_of(key) in careful and (_kind(key) != doc.Membership.KIND or left or _group(key) in emptied)
    )
    difference = _difference(before, after, directory.withheld, held=held, careful=careful)
    reasons = [*much.values(), *(f"all members of group {group}" for group in sorted(emptied))]
    why = f"{', '.join(reasons)} disappeared at once" if reasons else None
    return Weighed(difference, tuple(sorted(held)), why)


def believed(
    missing: Iterable[Missing], read_at: Mapping[Source, datetime], *, after: timedelta
) -> frozenset[str]:
    """What somebody confirmed, and what a whole reading of its source still lacks so long after the first."""
    return frozenset(
        one.key
        for one in missing
        if one.confirmed or one.found_at + after <= read_at.get(source_of(one.key), one.found_at)
    )


def hold_id(keys: Iterable[str]) -> str:
    """Names exactly what is held, so that nobody confirms what they have not seen."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def source_of(key: str) -> Source:
    return _SOURCES[key.partition("/")[0]]


def confirm(difference: Difference, held: str, origin: Origin) -> InventoryConfirmed:
    """Somebody has looked and says that what disappeared is gone; `held` is why they were asked.

    Shards of memberships are not counted: how many there are says nothing.
    """
    gone = Counter(document.kind for document in difference.removed)
    del gone[doc.Membership.KIND]
    return InventoryConfirmed(
        subject=origin.actor.user_id or origin.actor.name,
        removed=gone,
        **origin.because(held).fields(),
    )


# what disappeared


def _lost(before: Named, after: Named, withheld: Collection[str]) -> frozenset[str]:
    """Keys of documents that are gone, and of memberships where person and group are still there."""
    gone = {key for key, one in before.items() if one.kind != doc.Membership.KIND} - after.keys()
    left = _memberships(before) - _memberships(after)
    absent = gone | set(withheld)
    return frozenset(gone - set(withheld)) | {key for key in left if not absent & set(_ends_of(key))}


def _much(before: Named, lost: Collection[str], *, share: float) -> dict[str, str]:
    """By kind, what of it is too much to be believed."""
    had = Counter(_kind(key) for key in before)
    had[doc.Membership.KIND] = len(_memberships(before))
    gone = Counter(_kind(key) for key in lost)
    return {
        kind: f"{count} of {had[kind]} {kind}s"
        for kind, count in sorted(gone.items())
        if count == had[kind] or (count > _ALWAYS_BELIEVED and count > share * had[kind])
    }


def _emptied(before: Named, lost: Collection[str]) -> set[str]:
    """Groups of more than a handful that nobody is in any more."""
    had = Counter(_group(key) for key in _memberships(before))
    gone = Counter(_group(key) for key in lost if _kind(key) == doc.Membership.KIND)
    return {group for group in gone if _ALWAYS_BELIEVED < gone[group] == had[group]}


# what of it is taken over


def _difference(
    before: Named,
    after: Named,
    withheld: Mapping[str, doc.Document | None],
    *,
    held: Collection[str],
    careful: Collection[Source],
) -> Difference:
    """All that is new, but of careful sources and withheld documents only what takes rights away."""
    stay = {*held, *withheld}
    changed: list[doc.Document] = []
    removed: list[doc.Document] = []
    for key in {**before, **after, **withheld}:
        old, new = before.get(key), after.get(key) or withheld.get(key)
        if _kind(key) == doc.Membership.KIND:
            new = _members(key, old, new, stay=stay, careful="identitystore" in careful)
        elif key in withheld or source_of(key) in careful:
            new = _narrowed(old, new) if new is not None else old if key in stay else None
        if new is None and old is not None:
            removed.append(old)
        elif new is not None and not _same(old, new):
            changed.append(new)
    return Difference(tuple(changed), tuple(removed))


def _narrowed(before: doc.Document | None, after: doc.Document) -> doc.Document | None:
    """What of a change can only take rights away; what was before where nothing of it can.

    What a permission set allows is taken over as it is: what was approved of another content then fails.
    """
    if isinstance(before, doc.User) and isinstance(after, doc.User):
        return before.model_copy(update={"enabled": before.enabled and after.enabled})
    if isinstance(before, doc.Account) and isinstance(after, doc.Account):
        protected = {
            "management": before.management or after.management,
            "delegated_administrator": before.delegated_administrator or after.delegated_administrator,
        }
        return before.model_copy(
            update={"state": before.state if after.state == "ACTIVE" else after.state, **protected}
        )
    return after if isinstance(before, doc.PermissionSet) else before


def _members(
    key: str,
    before: doc.Document | None,
    after: doc.Document | None,
    *,
    stay: set[str],
    careful: bool,
) -> doc.Membership | None:
    """Without those who left. While people are held nobody joins, and who is not believed gone stays."""
    was, now = (set(cast("doc.Membership", one).members) if one else set() for one in (before, after))
    shard = key.removeprefix(f"{doc.Membership.KIND}/")
    group = doc.group_of_shard(shard)
    kept = {user for user in was - now if stay & {_membership(group, user), *_ends(group, user)}}
    members = (was & now if careful else now) | kept
    return doc.Membership(id=shard, members=tuple(sorted(members))) if members else None


def _memberships(documents: Named) -> set[str]:
    return {
        _membership(one.group, user)
        for one in documents.values()
        if isinstance(one, doc.Membership)
        for user in one.members
    }


def _membership(group: str, user: str) -> str:
    return f"{doc.Membership.KIND}/{group}/{user}"


def _ends_of(membership: str) -> tuple[str, str]:
    _, group, user = membership.split("/")
    return _ends(group, user)


def _ends(group: str, user: str) -> tuple[str, str]:
    return f"{doc.Group.KIND}/{group}", f"{doc.User.KIND}/{user}"


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _group(membership: str) -> str:
    return membership.split("/")[1]


def _same(before: doc.Document | None, after: doc.Document) -> bool:
    """But for their revisions. By their fields, since a copy of each of thousands takes long."""
    return before is not None and {**vars(before), "revision": 0} == {**vars(after), "revision": 0}
