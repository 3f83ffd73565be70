"""What is different between the stored inventory and the one just read, and whether to believe it. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts import documents as doc

KINDS: tuple[type[doc.Document], ...] = (
    doc.OrganizationalUnit,
    doc.Account,
    doc.PermissionSet,
    doc.User,
    doc.Group,
)
"""The document classes the inventory consists of."""
_GUARDED = (doc.User.KIND, doc.Group.KIND, doc.Account.KIND)
_ALWAYS_BELIEVED = 5
"""So few may vanish at once whatever their share: small organisations change too."""


@dataclass(frozen=True, slots=True)
class Change:
    """A document that is new (`before` is None) or not what it was."""

    before: doc.Document | None
    after: doc.Document


@dataclass(frozen=True, slots=True)
class Difference:
    changes: tuple[Change, ...]
    removed: tuple[doc.Document, ...]
    """As stored, still live."""

    @property
    def set_digests_changed(self) -> frozenset[str]:
        """Sets that allow something else than before: what was approved is not what would be given."""
        return frozenset(change.after.id for change in self.changes if _digest_changed(change))

    @property
    def accounts_lost(self) -> frozenset[str]:
        """Accounts that are gone or no longer ACTIVE."""
        return self._gone(doc.Account) | frozenset(
            change.after.id
            for change in self.changes
            if isinstance(change.after, doc.Account)
            and change.after.state != "ACTIVE"
            and (not isinstance(change.before, doc.Account) or change.before.state == "ACTIVE")
        )

    @property
    def users_lost(self) -> frozenset[str]:
        """Users that are gone or disabled since."""
        return self._gone(doc.User) | frozenset(
            change.after.id
            for change in self.changes
            if isinstance(change.after, doc.User)
            and not change.after.enabled
            and (not isinstance(change.before, doc.User) or change.before.enabled)
        )

    @property
    def sets_lost(self) -> frozenset[str]:
        return self._gone(doc.PermissionSet)

    def _gone(self, cls: type[doc.Document]) -> frozenset[str]:
        return frozenset(document.id for document in self.removed if isinstance(document, cls))


NOTHING = Difference((), ())


def compare(stored: Sequence[doc.Document], read: Sequence[doc.Document]) -> Difference:
    """Revisions do not count; everything else does."""
    before = {document.key: document for document in stored}
    after = {document.key: document for document in read}
    changes = [
        Change(before.get(key), document)
        for key, document in after.items()
        if not _same(before.get(key), document)
    ]
    removed = [document for key, document in before.items() if key not in after]
    return Difference(tuple(changes), tuple(removed))


def mass_disappearance(difference: Difference, stored: Sequence[doc.Document], *, share: float) -> str | None:
    """A sentence when more users, groups or accounts vanished than anybody removes at once; else None.

    An emptied directory is more often a broken permission or synchronisation than the truth, and
    believing it would end everybody's access and make every rule unapprovable.
    """
    had = Counter(document.kind for document in stored)
    lost = Counter(document.kind for document in difference.removed)
    suspicious = [
        f"{lost[kind]} of {had[kind]} {kind}s"
        for kind in _GUARDED
        if lost[kind] > _ALWAYS_BELIEVED and lost[kind] > share * had[kind]
    ]
    return f"{', '.join(suspicious)} disappeared at once" if suspicious else None


def _same(before: doc.Document | None, after: doc.Document) -> bool:
    return before is not None and before.model_copy(update={"revision": after.revision}) == after


def _digest_changed(change: Change) -> bool:
    return (
        isinstance(change.before, doc.PermissionSet)
        and isinstance(change.after, doc.PermissionSet)
        and change.before.digest != change.after.digest
    )
