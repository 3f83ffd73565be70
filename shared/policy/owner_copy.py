"""What one replica holds of one owner's documents, and whether that is all of them.

The policy (policy.py) keeps one per owner: an owner's marker states how many documents a complete copy
has and their digest, and this counts along.
"""

from datetime import datetime

from shared.contracts.documents import Document, Marker
from shared.foundation.clock import EPOCH


class OwnerCopy:
    """Counts documents in and compares the sum with the owner's newest statement."""

    def __init__(self) -> None:
        self.verified = False
        self.fresh_at = EPOCH
        """Until when the owner is known to have stood behind this copy; never a moment to come."""
        self.read_at: datetime | None = None
        """Since when its documents are known to say what is true elsewhere; None where that is not said."""
        self._revisions: dict[str, int] = {}
        self._live: dict[str, int] = {}
        self._digest = 0
        self._newest = 0
        self._held: list[Document] = []
        """Of a write that is not completely here."""
        self._held_until = 0

    @property
    def empty(self) -> bool:
        """Nothing is here, as before the owner has anything to publish."""
        return not self._live

    def take(self, *documents: Document) -> list[Document]:
        """Count in those that are newer than what is known; those that may be shown from now on.

        Of what was written together nothing is shown before its last document, or a later one, is here.
        """
        for document in documents:
            if document.revision > self._revisions.get(document.key, 0):
                self._count(document)
                self._held.append(document)
                self._held_until = max(self._held_until, document.together_until)
        return self._complete()

    def note(self, marker: Marker, *, now: datetime) -> list[Document]:
        """Compare the copy with its owner's statement. One from before what we know says nothing.

        Between two markers documents arrive in order and without gaps (one partition), so a copy that
        was verified stays so. Returns what may be shown from now on.
        """
        if marker.revision < self._newest:
            return []
        self.fresh_at = max(self.fresh_at, min(marker.at, now))
        self.read_at = marker.read_at
        self.verified = (len(self._live), f"{self._digest:064x}") == (marker.count, marker.digest)
        self._newest = marker.revision
        return self._complete()

    def _count(self, document: Document) -> None:
        self._revisions[document.key] = document.revision
        self._newest = max(self._newest, document.revision)
        self._digest ^= self._live.pop(document.key, 0) ^ document.fingerprint
        if not document.deleted:
            self._live[document.key] = document.fingerprint

    def _complete(self) -> list[Document]:
        if self._newest < self._held_until:
            return []
        complete, self._held = self._held, []
        return complete
