"""How a ticket ends other than by its window: withdrawn, returned, timed out, closed.

Termination, which reaches into other tickets, is in termination.py.
"""

from datetime import datetime
from typing import Final

from services.ticket.domain.transition import settle, stop, transition
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.contracts.ticket import (
    GrantState,
    TargetState,
    Ticket,
    TicketClosed,
    TicketReturned,
    TicketTimedOut,
    TicketWithdrawn,
)
from shared.foundation.errors import Conflict, Denied, Forbidden

DROPPABLE: Final = frozenset({GrantState.SCHEDULED})
"""What the requester may still withdraw: approved, and nothing asked of AWS yet as far as is known."""


def withdraw(ticket: Ticket, user_id: str, origin: Origin) -> Change[Ticket]:
    """The requester drops what is not yet granted."""
    if ticket.requester.user_id != user_id:
        raise Forbidden(
            "only the requester withdraws a ticket",
            code="not_requester",
            denied=Denied("withdraw", ticket.id, object_id=ticket.id),
        )
    targets = [target.id for target in ticket.pending]
    grants = [grant.id for grant in ticket.grants if grant.state in DROPPABLE]
    if not targets and not grants:
        raise Conflict(
            f"nothing of this ticket can be withdrawn any more, it is {ticket.state}; "
            "a beneficiary can return access that was granted",
            code="nothing_to_withdraw",
        )
    changed = settle(ticket, targets, TargetState.WITHDRAWN, at=origin.at)
    changed = stop(changed, grants, EndCause.WITHDRAWN)
    return transition(changed, TicketWithdrawn, origin, targets=targets, grants=grants)


def return_access(ticket: Ticket, user_id: str, origin: Origin) -> Change[Ticket]:
    """A beneficiary returns their own access before its end."""
    grants = [grant.id for grant in ticket.live if grant.beneficiary == user_id]
    if not grants:
        raise Conflict(
            f"you have no access from this ticket to return, it is {ticket.state}", code="nothing_to_return"
        )
    return transition(stop(ticket, grants, EndCause.RETURNED), TicketReturned, origin, grants=grants)


def time_out(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """What is still pending at its time ends; the same ticket where it is too early."""
    targets = [target.id for target in ticket.pending] if origin.at >= ticket.expires_at else []
    if not targets:
        return Change(ticket)
    changed = settle(ticket, targets, TargetState.TIMED_OUT, at=origin.at)
    why = origin.because("nobody decided in time")
    return transition(changed, TicketTimedOut, why, targets=targets)


def closes_at(ticket: Ticket) -> datetime | None:
    """When no credential of this ticket can live any more; None while anything is undecided or live."""
    if ticket.closed_at is not None or ticket.pending or ticket.live:
        return None
    ends = [grant.credentials_until or grant.ended_at for grant in ticket.grants]
    return max([end for end in ends if end is not None], default=ticket.submitted_at)


def close(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """No credential can live any more; the same ticket while one may."""
    due = closes_at(ticket)
    if due is None or origin.at < due:
        return Change(ticket)
    why = origin.because("no credential issued through this ticket can live any more")
    return transition(ticket.model_copy(update={"closed_at": origin.at}), TicketClosed, why)
