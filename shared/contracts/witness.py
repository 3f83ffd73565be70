"""The content hash that binds a grant to its approval, and the window it is computed over.

Approval publishes the hash of what it approved; ticket publishes the hash of what it says was
approved; the provisioner computes it a third time from what it is about to do. Unless the three
agree nothing is granted, so no single service can make access happen.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from shared.contracts.ticket import Target, Ticket, Window, WindowAsked


def resolve_window(asked: WindowAsked, approved_at: datetime) -> Window | None:
    """The window an approval at `approved_at` opens; None when nothing of it is left.

    A start in the past begins now: nobody gets access for time gone by, and the end stays.
    """
    start = approved_at if asked.starts_at is None else max(asked.starts_at, approved_at)
    if asked.ends_at is not None:
        end = asked.ends_at
    elif asked.duration is not None:
        end = (asked.starts_at or approved_at) + asked.duration
    else:
        return None
    return Window(starts_at=start, ends_at=end) if end > start else None


def content_hash(
    *,
    instance: str,
    ticket_id: str,
    target_id: str,
    revision: int,
    beneficiaries: Iterable[str],
    account_id: str,
    set_id: str,
    set_digest: str,
    window: Window,
) -> str:
    """SHA-256 (hex) over the fields in a fixed order; times in UTC with microseconds."""
    content = [
        instance,
        ticket_id,
        target_id,
        revision,
        sorted(beneficiaries),
        account_id,
        set_id,
        set_digest,
        _utc(window.starts_at),
        _utc(window.ends_at),
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def ticket_content_hash(ticket: Ticket, target: Target, window: Window) -> str:
    """The hash for one target of a ticket, approved for `window`."""
    return content_hash(
        instance=ticket.instance,
        ticket_id=ticket.id,
        target_id=target.id,
        revision=target.revision,
        beneficiaries=[grant.beneficiary for grant in ticket.grants if grant.target_id == target.id],
        account_id=target.account_id,
        set_id=target.set_id,
        set_digest=target.set_digest,
        window=window,
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
