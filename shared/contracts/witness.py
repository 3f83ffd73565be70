"""The content hash that binds a grant to its approval.

Approval publishes the hash of what it approved; ticket publishes the hash of what it says was
approved; the provisioner computes it a third time from what it is about to do. Unless the three
agree nothing is granted, so no single service can make access happen.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from shared.contracts.ticket import Target, Ticket, Window


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
