"""How a ticket ends other than by its window: withdrawn, returned, timed out, closed.

Termination, which reaches into other tickets, is in termination.py.
"""

from datetime import datetime
from typing import Final

from services.ticket.domain import extensions
from services.ticket.domain.transition import settle, stop, stop_transition, transition
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.contracts.stop import TicketReturned, TicketWithdrawn
from shared.contracts.ticket import (
    Grant,
    GrantState,
    TargetState,
    Ticket,
    TicketClosed,
    TicketTimedOut,
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
    if not targets and not grants and not extensions.pending(ticket):
        raise Conflict(
            f"nothing of this ticket can be withdrawn any more, it is {ticket.state}; "
            "a beneficiary can return access that was granted",
            code="nothing_to_withdraw",
        )
    change = Change(ticket)
    if targets or grants:
        changed = settle(ticket, targets, TargetState.WITHDRAWN, at=origin.at)
        changed = stop(changed, grants, EndCause.WITHDRAWN)
        change = stop_transition(changed, TicketWithdrawn, origin, targets=targets, grants=grants)
    return change.then(extensions.withdraw(change.state, origin))


def return_access(ticket: Ticket, user_id: str, origin: Origin) -> Change[Ticket]:
    """A beneficiary returns their own access before its end."""
    grants = [grant.id for grant in ticket.live if grant.beneficiary == user_id]
    if not grants:
        raise Conflict(
            f"you have no access from this ticket to return, it is {ticket.state}", code="nothing_to_return"
        )
    stopped = stop(ticket, grants, EndCause.RETURNED)
    change = stop_transition(stopped, TicketReturned, origin, grants=grants)
    return change.then(extensions.stop(change.state, grants, origin))


def time_out(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """What is still pending at its time ends; the same ticket where it is too early."""
    why = origin.because("nobody decided in time")
    targets = [target.id for target in ticket.pending if target.expires_at <= origin.at]
    change = Change(ticket)
    if targets:
        changed = settle(ticket, targets, TargetState.TIMED_OUT, at=origin.at)
        change = transition(changed, TicketTimedOut, why, targets=targets)
    return change.then(extensions.time_out(change.state, why))


def times_out_at(ticket: Ticket) -> datetime | None:
    """When the first of what waits for a decision times out; None when nothing waits."""
    targets = (target.expires_at for target in ticket.pending)
    return min((*targets, *(one.expires_at for one in extensions.pending(ticket))), default=None)


def closes_at(ticket: Ticket) -> datetime | None:
    """When no credential of this ticket can live any more.

    None while anything is undecided or live, and where there never was one: nothing closes then.
    """
    if ticket.closed_at is not None or ticket.pending or ticket.live:
        return None
    return max((end for grant in ticket.grants if (end := _last_credential(grant))), default=None)


def _last_credential(grant: Grant) -> datetime | None:
    """Until when credentials of a grant that is over may live; None when none was ever issued."""
    if grant.state in {GrantState.REVOKED, GrantState.RELEASED}:
        return grant.credentials_until or grant.ended_at
    return grant.credentials_until


def close(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """No credential can live any more; the same ticket while one may."""
    due = closes_at(ticket)
    if due is None or origin.at < due:
        return Change(ticket)
    why = origin.because("no credential issued through this ticket can live any more")
    return transition(ticket.model_copy(update={"closed_at": origin.at}), TicketClosed, why)
