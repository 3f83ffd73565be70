"""Stops: terminated, returned, withdrawn, and an operator's revocation. Each ends claims at once.

Absorbing: applied whatever their version or order, and remembered for claims that are not there yet; one of a
user or an account for what was asked for before it. They need the database and nothing else.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from services.provisioner.commands.ends import end_claims
from services.provisioner.domain.claims import Claim
from services.provisioner.domain.remaining import Remaining, remaining
from services.provisioner.store import assignments, claims, stops, witnesses
from services.provisioner.store.claims import ClaimKey
from services.provisioner.store.stops import StoredStop
from shared.context import Context
from shared.contracts.access import EndCause
from shared.contracts.configuration import RevocationOrdered
from shared.contracts.documents import Account
from shared.contracts.stop import (
    StopFact,
    TicketReturned,
    TicketTerminated,
    TicketWithdrawn,
    remembered_until,
)
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import NotFound
from shared.http.access import Caller
from shared.messaging.envelope import Received

CAUSES: Final[dict[type[StopFact], EndCause]] = {
    TicketTerminated: EndCause.TERMINATED,
    TicketReturned: EndCause.RETURNED,
    TicketWithdrawn: EndCause.WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation came to."""

    ended: tuple[Claim, ...]
    remaining: tuple[Remaining, ...]
    """The access that is still there at this moment, and why."""
    nothing_live: bool


async def stop_grants(context: Context, work: UnitOfWork, received: Received[StopFact]) -> None:
    """End the grants a stop names, and remember it for those that are not here yet."""
    event = received.event
    cause = CAUSES[type(event)]
    origin = context.origin(received, why=event.why or cause).by(event.actor)
    await witnesses.lock_tickets(work, [event.ticket_id])
    stop = StoredStop(cause, event.actor, origin.why)
    until = event.remembered_until(origin.at)
    await stops.insert(work.conn, event.grant_ids, stop, now=origin.at, until=until)
    keys = await claims.open_claims(work.conn, event.grant_ids)
    await end_claims(work, keys, origin, cause=cause)
    work.after_commit(partial(context.nudge, *(key.assignment_id for key in keys)))


async def revoke(
    context: Context,
    work: UnitOfWork,
    caller: Caller,
    *,
    reason: str,
    ticket_id: str | None = None,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Revoked:
    """End every open claim of a ticket, a user or an account now, and what was asked for and comes later.

    Access that is asked for from now on is not meant.
    """
    cause = EndCause.REVOKED_BY_OPERATOR
    origin = caller.origin(context.clock.now(), reason)
    stop = StoredStop(cause, caller.actor, reason)
    await _remember(work, stop, origin.at, ticket_id=ticket_id, user_id=user_id, account_id=account_id)
    keys = await claims.open_claims_of(work.conn, ticket_id=ticket_id, user_id=user_id, account_id=account_id)
    if not keys:
        _refuse_unknown(context, user_id=user_id, account_id=account_id)
    ended = await end_claims(work, keys, origin, cause=cause)
    ordered = RevocationOrdered(
        subject=caller.user_id,
        **origin.fields(),
        ticket_id=ticket_id,
        user_id=user_id,
        account_id=account_id,
        ended=tuple(claim.id for claim in ended),
    )
    context.record(work, ordered)
    work.after_commit(partial(context.nudge, *(key.assignment_id for key in keys)))
    return Revoked(
        ended=tuple(ended),
        remaining=await _remaining(work.conn, keys),
        nothing_live=not keys,
    )


async def _remember(
    work: UnitOfWork,
    stop: StoredStop,
    now: datetime,
    *,
    ticket_id: str | None,
    user_id: str | None,
    account_id: str | None,
) -> None:
    """For claims that are still on their way; those that are being added are waited for."""
    conn, until = work.conn, remembered_until(None, now)
    if ticket_id is not None:
        await witnesses.lock_tickets(work, [ticket_id])
        await stops.insert(conn, [ticket_id], stop, now=now, until=until)
        return
    await stops.keep_claims_away(work)
    if user_id is not None:
        await stops.insert_of_all(conn, "user", user_id, stop, now=now, until=until)
    if account_id is not None:
        await stops.insert_of_all(conn, "account", account_id, stop, now=now, until=until)


def _refuse_unknown(context: Context, *, user_id: str | None, account_id: str | None) -> None:
    """A mistyped id must not read as "done" in an incident; a user name is no user id."""
    snapshot = context.policy.known()
    if user_id is not None and snapshot.user(user_id) is None:
        raise NotFound(
            f"nobody has the user id {user_id}, as far as the inventory and the claims know; "
            "a user name is not a user id: see GET /v1/grants or the ticket",
            code="user_unknown",
        )
    if account_id is not None and snapshot.get(Account, account_id) is None:
        raise NotFound(
            f"there is no account {account_id}, as far as the inventory and the claims know",
            code="account_unknown",
        )


async def _remaining(conn: Conn, keys: list[ClaimKey]) -> tuple[Remaining, ...]:
    ended = {key.id for key in keys}
    found = await assignments.load(conn, [key.assignment_id for key in keys])
    left = (remaining(assignment, ended) for assignment in found)
    return tuple(one for one in left if one is not None)
