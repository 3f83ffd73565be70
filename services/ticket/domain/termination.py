"""An approver or an administrator stops access, in every ticket that gives it.

All live claims of the same assignments end, also those of other tickets, since otherwise the person would
keep the access. What remains is named with its reason.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.ticket.domain import extensions
from services.ticket.domain.transition import settle, stop, stop_transition
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.contracts.stop import TicketTerminated
from shared.contracts.ticket import Grant, TargetState, Ticket
from shared.foundation.errors import Bug, Conflict, Denied, Forbidden, Invalid

AccessKey = tuple[str, str, str]
"""User, account, set: what one assignment is about, within the instance."""


@dataclass(frozen=True)
class Selection:
    """The targets of one ticket that are to end; all the caller may end, unless they were named."""

    targets: frozenset[str]
    named: bool


@dataclass(frozen=True)
class Stop:
    """What a termination ends in one ticket."""

    ticket: Ticket
    """As it was before."""
    grants: tuple[Grant, ...]
    targets: tuple[str, ...]
    """Pending ones, which are withdrawn."""


@dataclass(frozen=True)
class Ending:
    """A grant that begins to end."""

    ticket_id: str
    grant_id: str
    user_id: str


@dataclass(frozen=True)
class RemainingGrant:
    """A live grant that the person keeps, and why."""

    grant_id: str
    user_id: str
    why: str


@dataclass(frozen=True)
class Termination:
    """What ends, over all tickets, and what the person can still do."""

    ending: tuple[Ending, ...]
    withdrawn_targets: tuple[str, ...]
    remains: tuple[RemainingGrant, ...]
    credentials_until: datetime | None
    """Credentials that were issued already may live until then."""


def select(ticket: Ticket, named: Sequence[str], may_end: Collection[str]) -> Selection:
    """The targets to end out of those the caller may end; those they name must all be among them."""
    if unknown := [one for one in named if ticket.target(one) is None]:
        raise Invalid(f"this ticket has no target {', '.join(unknown)}", code="target_unknown")
    wanted = frozenset(named or may_end)
    if not wanted or not wanted <= set(may_end):
        raise Forbidden(
            "only approvers of the target and administrators end other people's access; "
            "your own you can return",
            code="not_permitted",
            denied=Denied("terminate", ticket.id, object_id=ticket.id),
        )
    return Selection(wanted, named=bool(named))


def find_stops(ticket: Ticket, selection: Selection, tickets: Sequence[Ticket]) -> list[Stop]:
    """What ends in which of the tickets, the one that was asked about among them; never nothing."""
    keys = {_key(ticket, grant) for grant in ticket.live if grant.target_id in selection.targets}
    found = [
        _stop_in(one, keys, selection.targets if one.id == ticket.id else frozenset()) for one in tickets
    ]
    stops = [one for one in found if one.grants or one.targets]
    if not stops:
        raise Conflict(f"there is nothing to end, the ticket is {ticket.state}", code="nothing_to_end")
    return stops


def _stop_in(ticket: Ticket, keys: Collection[AccessKey], target_ids: Collection[str]) -> Stop:
    return Stop(
        ticket,
        grants=tuple(grant for grant in ticket.live if _key(ticket, grant) in keys),
        targets=tuple(target.id for target in ticket.pending if target.id in target_ids),
    )


def _key(ticket: Ticket, grant: Grant) -> AccessKey:
    target = ticket.target(grant.target_id)
    if target is None:
        raise Bug(f"grant {grant.id} has no target; this is a bug", code="grant_without_target")
    return (grant.beneficiary, target.account_id, target.set_id)


def terminate(stopped: Stop, origin: Origin) -> Change[Ticket]:
    """The stop in one ticket."""
    grants = [grant.id for grant in stopped.grants]
    changed = settle(stopped.ticket, stopped.targets, TargetState.WITHDRAWN, at=origin.at)
    changed = stop(changed, grants, EndCause.TERMINATED)
    change = stop_transition(changed, TicketTerminated, origin, targets=stopped.targets, grants=grants)
    return change.then(extensions.stop(change.state, grants, origin))


def outcome(ticket: Ticket, selection: Selection, stops: Sequence[Stop]) -> Termination:
    """What the caller is told: `ticket` is the one that was asked about, as it was before."""
    grants = [(one.ticket.id, grant) for one in stops for grant in one.grants]
    return Termination(
        ending=tuple(Ending(ticket_id, grant.id, grant.beneficiary) for ticket_id, grant in grants),
        withdrawn_targets=tuple(target for one in stops for target in one.targets),
        remains=tuple(
            RemainingGrant(grant.id, grant.beneficiary, why)
            for grant in ticket.live
            if (why := _why_it_remains(grant, selection))
        ),
        credentials_until=max(
            (grant.credentials_until for _, grant in grants if grant.credentials_until), default=None
        ),
    )


def _why_it_remains(grant: Grant, selection: Selection) -> str | None:
    if grant.target_id not in selection.targets:
        return "you did not name this target" if selection.named else "you may not end this target"
    if grant.already_held:
        return "the assignment was there before JIT and is not JIT's to remove"
    return None
