"""The approval subject: what one review approves, one witness vouches for and one claim is given for.

Approval publishes the hash of what it approved; ticket publishes the hash of what it says was approved; the
provisioner computes it a third time from what it is about to do. Unless the three agree nothing is granted,
so no single service can make access happen.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime

from shared.contracts.description import Description
from shared.contracts.event import Contract
from shared.contracts.people import Person
from shared.contracts.windows import Window, WindowAsked
from shared.contracts.words import Word


class SubjectKind(Word):
    """What is asked for. The kind is part of the hash: an approval of one is never one of another."""

    TARGET = "target"
    """A target in one of its revisions."""
    EXTENSION = "extension"
    """A later end for access that a target gives already."""


class SubjectGrant(Contract):
    """One of the grants it is about, and whose it is."""

    id: str
    beneficiary: str
    """Identity Store user id."""


class ApprovalSubject(Description):
    """Complete and frozen: whoever holds it needs no later fact to know what was decided on."""

    id: str
    """Minted with each revision of a target and with each extension."""
    kind: SubjectKind
    instance: str
    ticket_id: str
    target_id: str
    revision: int
    """The target's; an extension names the revision whose access it extends."""
    requester: Person
    """Who asks for this."""
    beneficiaries: tuple[Person, ...]
    other_parties: tuple[Person, ...] = ()
    """Who else may not decide on it: the ticket's other parties, where this is an extension."""
    grants: tuple[SubjectGrant, ...]
    account_id: str
    account_name: str
    set_id: str
    set_name: str
    set_digest: str
    """Digest of the set's policies when asked; approval and grant hold for these policies only."""
    set_group: str | None = None
    session_duration: timedelta
    asked: WindowAsked
    """Of an extension: from the first start to the new end."""
    reason: str
    submitted_at: AwareDatetime
    expires_at: AwareDatetime
    """When it times out without a decision."""

    @property
    def parties(self) -> frozenset[str]:
        """User ids of those it is for: none of them decides on it."""
        return frozenset(
            {
                self.requester.user_id,
                *(person.user_id for person in (*self.beneficiaries, *self.other_parties)),
                *(grant.beneficiary for grant in self.grants),
            }
        )

    @property
    def length(self) -> timedelta:
        """What approval rules are asked for: from the submit if the start is open, else from the first start.

        Without an end or a duration, which no ticket has, the longest: it lets nothing through by itself.
        """
        return self.asked.length_from(self.submitted_at) or timedelta.max

    def window_at(self, approved_at: datetime) -> Window | None:
        """The window that an approval at this moment gives; None when nothing of it is left.

        An extension keeps the first start, since its length counts from there.
        """
        window = self.asked.window_at(approved_at)
        if self.kind is SubjectKind.EXTENSION and window is not None and self.asked.starts_at is not None:
            return Window(starts_at=self.asked.starts_at, ends_at=window.ends_at)
        return window

    def content_hash(self, window: Window) -> str:
        """The hash of this subject approved for `window`."""
        return content_hash(
            kind=self.kind,
            subject_id=self.id,
            instance=self.instance,
            ticket_id=self.ticket_id,
            target_id=self.target_id,
            revision=self.revision,
            grants=((grant.id, grant.beneficiary) for grant in self.grants),
            account_id=self.account_id,
            set_id=self.set_id,
            set_digest=self.set_digest,
            window=window,
        )


def content_hash(
    *,
    kind: SubjectKind,
    subject_id: str,
    instance: str,
    ticket_id: str,
    target_id: str,
    revision: int,
    grants: Iterable[tuple[str, str]],
    account_id: str,
    set_id: str,
    set_digest: str,
    window: Window,
) -> str:
    """SHA-256 (hex) over the fields in a fixed order; grants as (id, beneficiary), times in UTC."""
    content = [
        kind.value,
        subject_id,
        instance,
        ticket_id,
        target_id,
        revision,
        sorted(list(pair) for pair in grants),
        account_id,
        set_id,
        set_digest,
        _utc(window.starts_at),
        _utc(window.ends_at),
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
