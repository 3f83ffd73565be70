"""What is different between the stored inventory and the one just read, and whether to believe it. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts import documents as doc
from shared.contracts.change import Origin
from shared.contracts.configuration import InventoryConfirmed

KINDS: tuple[type[doc.Document], ...] = (
    doc.OrganizationalUnit,
    doc.Account,
    doc.PermissionSet,
    doc.User,
    doc.Group,
    doc.Membership,
)
"""The document classes the inventory consists of."""
_GUARDED = (doc.User.KIND, doc.Group.KIND, doc.Account.KIND)
_ALWAYS_BELIEVED = 5
"""So few may vanish at once whatever their share: small organisations change too."""


@dataclass(frozen=True, slots=True)
class Difference:
    changed: tuple[doc.Document, ...]
    """New, or not what they were."""
    removed: tuple[doc.Document, ...]
    """As stored, still live."""


def compare(stored: Sequence[doc.Document], read: Sequence[doc.Document]) -> Difference:
    """Revisions do not count; everything else does."""
    before = {document.key: document for document in stored}
    after = {document.key: document for document in read}
    changed = [document for key, document in after.items() if not _same(before.get(key), document)]
    removed = [document for key, document in before.items() if key not in after]
    return Difference(tuple(changed), tuple(removed))


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


def _same(before: doc.Document | None, after: doc.Document) -> bool:
    return before is not None and before.model_copy(update={"revision": after.revision}) == after
