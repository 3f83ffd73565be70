"""The policy of one replica: the newest snapshot, and whether it may be relied on.

Fed by the table reader (shared/documents/tables.py), one document at a time; asked by routes, commands
and background tasks. Whether documents are complete, fresh, refused, or as new as those of an earlier
decision is answered here and nowhere else: whoever gets a snapshot may decide on it.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from shared.contracts.documents import COUNTERS, Document, Marker
from shared.contracts.event import Revisions
from shared.foundation.clock import Clock
from shared.foundation.errors import NotReady
from shared.policy.owner_copy import OwnerCopy
from shared.policy.row import RowRefused
from shared.policy.snapshot import Snapshot

Purpose = Literal["read", "write", "configure"]
"""What a snapshot is for. Reading needs complete documents, however old; writing also fresh ones, none that
was refused, and a directory read from AWS not long ago; configuring is writing that may mend the last two."""
DIRECTORY_STALE_AFTER: Final = timedelta(hours=1)
"""How old the directory may be where no setting says it."""
LATEST_MARKER: Final = timedelta(seconds=60)
"""How far a marker may be ahead of the clock here: the owner's database has a clock of its own."""


class MarkerRefused(ValueError):
    """An owner's statement that can prove nothing."""


class Policy:
    """Documents go in, snapshots come out. One per process is enough, whatever the services in it."""

    def __init__(
        self,
        roles: Mapping[str, Collection[str]] | None = None,
        *,
        clock: Clock,
        stale_after: timedelta,
        directory_stale_after: timedelta = DIRECTORY_STALE_AFTER,
    ) -> None:
        self.catching_up = False
        """Set by the reader until it has been at every end it found: markers on the way prove nothing."""
        self.refused: dict[str, str] = {}
        """Documents whose last revision the policy cannot hold, by key, with the reason. The one before
        stays in force until a good revision comes; somebody must be told."""
        self._clock = clock
        self._stale_after = stale_after
        self._directory_stale_after = directory_stale_after
        self._copies = {owner: OwnerCopy() for owner in COUNTERS}
        self._snapshot = replace(Snapshot.of(roles), complete=False, people_known=False)
        self._waiting: list[asyncio.Future[None]] = []

    # fed

    def take(self, owner: str, *documents: Document) -> None:
        """Apply documents of their owner's; the same or an older revision than known is ignored."""
        self._show(self._copies[owner].take(*documents))

    def note_marker(self, marker: Marker) -> None:
        """Compare what is here with an owner's statement of what a complete copy is.

        Raises MarkerRefused for a statement from later than any difference of clocks explains.
        """
        now = self._clock.now()
        if marker.at > now + LATEST_MARKER:
            raise MarkerRefused(f"a marker of {marker.owner} is dated {marker.at}, which is to come")
        self._show(self._copies[marker.owner].note(marker, now=now))
        self._snapshot = self._snapshot.counted(marker)
        if self._directory_read:
            self.know_people()
        self._changed()

    def know_people(self) -> None:
        """People can be recognised from now on, and stay so: a stop works on what there is, however old."""
        self._snapshot = replace(self._snapshot, people_known=True)

    # asked

    def snapshot(
        self,
        at_least: Revisions | None = None,
        *,
        decided_at: datetime | None = None,
        purpose: Purpose = "read",
    ) -> Snapshot:
        """All documents as they are now, or `NotReady`: not ready means deny, never allow.

        `at_least` are the revisions an earlier decision was made on, `decided_at` is when that was; see
        `Snapshot.is_as_new_as`.
        """
        self._require_complete()
        if purpose != "read":
            self._require_fresh(correcting=purpose == "configure")
        snapshot = self.known()
        now = self._clock.now()
        if at_least is not None and not snapshot.is_as_new_as(at_least, decided_at=decided_at, now=now):
            raise NotReady(
                "policy and inventory are older here than where this was decided before; "
                "it is tried again in a moment",
                code="tables_behind",
            )
        return snapshot

    def snapshot_if_ready(self, *at_least: Revisions, purpose: Purpose = "read") -> Snapshot | None:
        """As `snapshot`, for whoever looks again later: None where it would be `NotReady`."""
        try:
            snapshot = self.snapshot(purpose=purpose)
            for wanted in at_least:
                self.snapshot(wanted, purpose=purpose)
        except NotReady:
            return None
        return snapshot

    def known(self) -> Snapshot:
        """What is known, complete or not: for stops, repairs and showing what is live, and for those only.

        Until everything is read only roles allow anything in it; everything else is denied as NOT_READY.
        """
        if self._snapshot.complete != self.ready:
            self._snapshot = replace(self._snapshot, complete=self.ready)
        return self._snapshot

    async def wait_for(self, wanted: Revisions, *, timeout_s: float = 2.0) -> None:
        """Read your own write: wait until these revisions are here, or raise `NotReady`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._snapshot.revisions.covers(wanted):
                    change = asyncio.get_running_loop().create_future()
                    self._waiting.append(change)
                    await change
        except TimeoutError:
            raise NotReady(
                f"revision {wanted.model_dump()} has not arrived here yet; try again",
                code="revision_not_here",
            ) from None

    # watched

    @property
    def ready(self) -> bool:
        """Every owner's documents are completely here, and a directory was read at least once."""
        verified = all(copy.verified for copy in self._copies.values())
        return not self.catching_up and verified and self._directory_read

    @property
    def unready_owners(self) -> list[str]:
        return sorted(owner for owner, copy in self._copies.items() if not copy.verified)

    @property
    def waits_for(self) -> str:
        """What is still to come before this is ready, for people to read."""
        if self.unready_owners:
            return ", ".join(self.unready_owners)
        if not self._directory_read:
            return "the first reading of accounts and people from AWS"
        return "the end of what the broker holds"

    @property
    def _directory_read(self) -> bool:
        """A complete copy of nothing knows nobody: without this everybody would be refused as a stranger."""
        inventory = self._copies["provisioner"]
        return inventory.verified and not inventory.empty

    @property
    def age(self) -> timedelta:
        """Age of the oldest of the owners' newest markers; never fresh while one is missing."""
        return self._clock.now() - min(copy.fresh_at for copy in self._copies.values())

    @property
    def stale(self) -> bool:
        """Whether the documents are older than writes may rely on."""
        return self.age > self._stale_after

    @property
    def directory_age(self) -> timedelta | None:
        """How long ago AWS was read, however new the markers are; None where that is not known."""
        read_at = self._copies["provisioner"].read_at
        return self._clock.now() - read_at if read_at is not None else None

    @property
    def directory_stale(self) -> bool:
        """Whether accounts and people are older than decisions may rely on: AWS cannot be read."""
        age = self.directory_age
        return age is not None and age > self._directory_stale_after

    # inside

    def _show(self, documents: Sequence[Document]) -> None:
        """All of them between two questions."""
        for document in documents:
            try:
                self._snapshot = self._snapshot.replace(document)
            except RowRefused as error:
                self.refused[document.key] = str(error)
            else:
                self.refused.pop(document.key, None)
        if documents:
            self._changed()

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def _require_complete(self) -> None:
        if not self.ready:
            raise NotReady(
                f"policy and inventory are not completely read yet, waiting for {self.waits_for}; "
                "try again in a few seconds",
                code="tables_not_ready",
            )

    def _require_fresh(self, *, correcting: bool) -> None:
        if not correcting and self.refused:
            raise NotReady(
                f"the policy refused {', '.join(sorted(self.refused))}; an administrator must correct it "
                "first",
                code="tables_refused",
            )
        if self.stale:
            raise NotReady(
                f"policy and inventory are {int(self.age.total_seconds())} s old, more than writes may rely "
                "on; try again when the broker is back",
                code="tables_stale",
            )
        if not correcting and self.directory_stale and (age := self.directory_age) is not None:
            raise NotReady(
                f"accounts and people were last read from AWS {int(age.total_seconds() // 60)} minutes ago, "
                "longer than decisions may rely on; an administrator must see why AWS cannot be read",
                code="directory_stale",
            )
