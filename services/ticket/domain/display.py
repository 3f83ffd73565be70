"""One word for a ticket of many parts. For people who look at it; nothing is decided by it."""

from typing import Final

from shared.contracts.access import EndCause, is_stop
from shared.contracts.ticket import FINAL_STATES, GrantState, TargetState, Ticket, TicketState

_BY_GRANT: Final = (
    (GrantState.ACTIVE, TicketState.ACTIVE),
    (GrantState.REVOKING, TicketState.REVOKING),
    (GrantState.GRANTING, TicketState.GRANTING),
    (GrantState.SCHEDULED, TicketState.SCHEDULED),
)
_BY_TARGET: Final = (
    (TargetState.REJECTED, TicketState.REJECTED),
    (TargetState.TIMED_OUT, TicketState.TIMED_OUT),
    (TargetState.WITHDRAWN, TicketState.WITHDRAWN),
)


def display_state(ticket: Ticket) -> TicketState:
    """What is still to be waited for comes first."""
    grants = {grant.state for grant in ticket.grants if grant.state is not None}
    targets = {target.state for target in ticket.targets}
    for grant_state, shown in _BY_GRANT:
        if grant_state in grants:
            return shown
    if TargetState.PENDING in targets:
        return TicketState.PENDING
    if grants & FINAL_STATES:
        ended = _how_it_ended(ticket)
        return TicketState.CLOSED if ticket.closed_at is not None and ended is TicketState.ENDED else ended
    for target_state, shown in _BY_TARGET:
        if target_state in targets:
            return shown
    return TicketState.PENDING


def _how_it_ended(ticket: Ticket) -> TicketState:
    """A grant that never came because somebody stopped it did not fail."""
    reached = [grant for grant in ticket.grants if grant.state is not None]
    if any(grant.state is not GrantState.FAILED for grant in reached):
        return TicketState.ENDED
    codes = {grant.code for grant in reached}
    if codes == {EndCause.WITHDRAWN.value}:
        return TicketState.WITHDRAWN
    return TicketState.ENDED if all(is_stop(code) for code in codes) else TicketState.FAILED
