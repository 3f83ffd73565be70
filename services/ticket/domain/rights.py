"""Who may do what to a ticket that is there, asked of the policy. Pure."""

from datetime import datetime

from shared.contracts.ticket import Target, Ticket
from shared.policy.snapshot import Snapshot


def may_see(ticket: Ticket, user_id: str, snapshot: Snapshot, *, now: datetime) -> bool:
    """Parties see their ticket; approvers of one of its targets, administrators and auditors do too."""
    return user_id in ticket.parties or any(
        _may(user_id, verb, target, snapshot, now)
        for target in ticket.targets
        for verb in ("ticket.read", "terminate")
    )


def may_end(ticket: Ticket, user_id: str, snapshot: Snapshot, *, now: datetime) -> frozenset[str]:
    """Ids of the targets whose access the person may end, whoever has it."""
    return frozenset(
        target.id for target in ticket.targets if _may(user_id, "terminate", target, snapshot, now)
    )


def _may(user_id: str, verb: str, target: Target, snapshot: Snapshot, now: datetime) -> bool:
    return snapshot.may(user_id, verb, account_id=target.account_id, set_id=target.set_id, now=now).allowed
