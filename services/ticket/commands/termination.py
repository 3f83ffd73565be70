"""An approver or an administrator stops access. Never blocked by policy, order or the bus.

By default every live claim of the same assignments is ended, also those of other tickets, since
otherwise the person would keep the access. The answer says what remains and why.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.ticket import store, views
from services.ticket.commands.telling import Origin, by, say
from services.ticket.commands.tickets import hidden, may_see
from services.ticket.domain import life
from shared.context import Context
from shared.contracts.ticket import Grant, Target, TargetState, Ticket, TicketTerminated
from shared.database.pool import Conn, transaction
from shared.foundation.errors import Conflict, Denied, Forbidden, Invalid
from shared.http.access import Caller
from shared.http.idempotency import Answer, once

AccessKey = tuple[str, str, str]
"""User, account, set: what one assignment is about, within the instance."""


@dataclass(frozen=True)
class Stopped:
    """What a termination ends in one ticket."""

    ticket: Ticket
    grants: tuple[Grant, ...]
    targets: tuple[str, ...]


async def terminate(
    context: Context, caller: Caller, ticket_id: str, *, target_ids: Sequence[str], why: str
) -> Answer:
    """End the ticket's targets (all the caller may end, or those named) and the same access elsewhere."""
    now = context.clock.now()

    async def action() -> Answer:
        seen = await views.ticket(conn, ticket_id)
        if seen is None or not may_see(seen, caller, context):
            raise hidden(ticket_id)
        # Locked only now, all in one order, so that two terminations cannot block each other.
        tickets = await store.load_all(
            conn, await store.same_access(conn, seen, [grant.id for grant in seen.grants])
        )
        ticket = next(one for one in tickets if one.id == ticket_id)
        wanted = _stoppable(ticket, target_ids, caller, context)
        keys = _keys(ticket, wanted)
        stopped = [_stop_in(one, keys, wanted if one.id == ticket_id else (), now) for one in tickets]
        stopped = [one for one in stopped if one.grants or one.targets]
        if not stopped:
            raise Conflict(f"there is nothing to end, the ticket is {ticket.state}", code="nothing_to_end")
        for one in stopped:
            await _say(conn, one, by(caller, at=now, why=why))
        return _answer(stopped, ticket, wanted)

    async with transaction(context.pool) as conn:
        return await once(conn, caller.key, action, now=now)


def _stoppable(ticket: Ticket, target_ids: Sequence[str], caller: Caller, context: Context) -> frozenset[str]:
    """The targets the caller may end; those he named explicitly must all be among them."""
    unknown = [one for one in target_ids if life.target_of(ticket, one) is None]
    if unknown:
        raise Invalid(f"this ticket has no target {', '.join(unknown)}", code="target_unknown")
    named = [target for target in ticket.targets if not target_ids or target.id in target_ids]
    allowed = frozenset(target.id for target in named if _may_terminate(target, caller, context))
    if not allowed or (target_ids and len(allowed) < len(named)):
        raise Forbidden(
            "only approvers of the target and administrators end other people's access; "
            "your own you can return",
            code="not_permitted",
            denied=Denied("terminate", ticket.id, object_id=ticket.id),
        )
    return allowed


def _may_terminate(target: Target, caller: Caller, context: Context) -> bool:
    return context.world.may(
        caller.user_id,
        "terminate",
        account_id=target.account_id,
        set_id=target.set_id,
        now=context.clock.now(),
    ).allowed


def _keys(ticket: Ticket, target_ids: Collection[str]) -> frozenset[AccessKey]:
    """The assignments behind the live grants of these targets."""
    return frozenset(
        _key_of(ticket, grant) for grant in life.live_grants(ticket) if grant.target_id in target_ids
    )


def _key_of(ticket: Ticket, grant: Grant) -> AccessKey:
    target = life.target_of(ticket, grant.target_id)
    assert target is not None, "a grant is born with its target"  # noqa: S101
    return (grant.beneficiary, target.account_id, target.set_id)


def _stop_in(
    ticket: Ticket, keys: Collection[AccessKey], target_ids: Collection[str], now: datetime
) -> Stopped:
    grants = tuple(grant for grant in life.live_grants(ticket) if _key_of(ticket, grant) in keys)
    targets = tuple(target.id for target in life.pending(ticket) if target.id in target_ids)
    changed = life.settle(ticket, targets, TargetState.WITHDRAWN, at=now)
    changed = life.stop(changed, [grant.id for grant in grants], code="terminated")
    return Stopped(changed, grants, targets)


async def _say(conn: Conn, stopped: Stopped, origin: Origin) -> None:
    grants = [grant.id for grant in stopped.grants]
    await say(conn, stopped.ticket, TicketTerminated, origin, targets=stopped.targets, grants=grants)


def _answer(stopped: Sequence[Stopped], before: Ticket, wanted: Collection[str]) -> Answer:
    """What ends, and what the person can still do."""
    ending = [
        {"ticket_id": one.ticket.id, "grant_id": grant.id, "user_id": grant.beneficiary}
        for one in stopped
        for grant in one.grants
    ]
    remains = [
        {"grant_id": grant.id, "user_id": grant.beneficiary, "why": why}
        for grant in life.live_grants(before)
        if (why := _why_it_remains(grant, wanted))
    ]
    credentials = [
        grant.credentials_until for one in stopped for grant in one.grants if grant.credentials_until
    ]
    return Answer(
        202,
        {
            "ending": ending,
            "withdrawn_targets": [target for one in stopped for target in one.targets],
            "remains": remains,
            "credentials_until": max(credentials).isoformat() if credentials else None,
            "note": "access ends when AWS was read back without it; credentials already issued "
            "may live until credentials_until",
        },
    )


def _why_it_remains(grant: Grant, wanted: Collection[str]) -> str | None:
    if grant.target_id not in wanted:
        return "you may not end this target"
    if grant.already_held:
        return "the assignment was there before JIT and is not JIT's to remove"
    return None
