"""What one replica holds of one owner's documents, and whether that is all of them.

The policy (policy.py) keeps one per owner: an owner's marker states how many documents a complete copy
has and their digest, and this counts along.
"""

from shared.contracts.documents import Document, Marker


class OwnerCopy:
    """Counts documents in and compares the sum with the owner's newest statement."""

    def __init__(self) -> None:
        self.marker: Marker | None = None
        self.verified = False
        self._revisions: dict[str, int] = {}
        self._live: dict[str, int] = {}
        self._digest = 0
        self._newest = 0

    @property
    def empty(self) -> bool:
        """Nothing is here, as before the owner has anything to publish."""
        return not self._live

    def take(self, document: Document) -> bool:
        """Count a document in if it is newer than what is known; False when it is not."""
        if document.revision <= self._revisions.get(document.key, 0):
            return False
        self._revisions[document.key] = document.revision
        self._newest = max(self._newest, document.revision)
        self._digest ^= self._live.pop(document.key, 0) ^ document.fingerprint
        if not document.deleted:
            self._live[document.key] = document.fingerprint
        return True

    def note(self, marker: Marker) -> None:
        """Compare the copy with its owner's statement. One from before what we know says nothing.

        Between two markers documents arrive in order and without gaps (one partition), so a copy that
        was verified stays so.
        """
        if marker.revision < self._newest or (self.marker and marker.at < self.marker.at):
            return
        self.marker = marker
        self.verified = (len(self._live), f"{self._digest:064x}") == (marker.count, marker.digest)
        self._newest = marker.revision
