"""Stops: terminated, returned, withdrawn, and an operator's revocation. Each ends claims at once.

Absorbing: applied whatever their version or order, and remembered for claims that are not there yet.
They need the database and nothing else.
"""

from collections.abc import Callable
from typing import Any

from services.provisioner.domain.claims import NOT_OURS, Claim, ClaimState, Stamp
from services.provisioner.expiry import end_claims
from services.provisioner.store import assignments, claims, witnesses
from services.provisioner.store.witnesses import Stop
from services.provisioner.views import shown
from shared.context import Context
from shared.contracts.access import EndCause
from shared.contracts.documents import Account
from shared.contracts.ticket import TicketFact, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.database.pool import Conn, transaction
from shared.foundation.errors import NotFound
from shared.http import idempotency
from shared.http.access import Caller
from shared.http.idempotency import Answer
from shared.messaging import inbox
from shared.messaging.envelope import Received

CAUSES: dict[type[TicketFact], EndCause] = {
    TicketTerminated: EndCause.TERMINATED,
    TicketReturned: EndCause.RETURNED,
    TicketWithdrawn: EndCause.WITHDRAWN,
}


async def take_stop(context: Context, nudge: Callable[[], None], received: Received[TicketFact]) -> None:
    """End the grants a stop names: by id, else all of the targets it names, else all of the ticket."""
    event = received.event
    cause = CAUSES[type(event)]
    async with transaction(context.pool) as conn:
        now = context.clock.now()
        if not await inbox.first_time(conn, received, now=now):
            return
        await witnesses.lock_ticket(conn, event.ticket.id)
        why = event.why or cause
        for grant_id in _stopped(event):
            await witnesses.insert_stop(conn, grant_id, Stop(cause, event.actor, why), now=now)
        pairs = await claims.open_claims(conn, grant_ids=_stopped(event))
        await end_claims(conn, pairs, stamp=Stamp(now, event.actor, received.id), cause=cause, why=why)
    nudge()


_STOPPED_LATER = "; an approval of this ticket that arrives later is stopped, if there is such a ticket"


def _refuse_unknown(context: Context, *, user_id: str | None, account_id: str | None) -> None:
    """A mistyped id must not read as "done" in an incident; a user name is no user id."""
    if user_id is not None and context.world.user(user_id) is None:
        raise NotFound(
            f"nobody has the user id {user_id}, as far as the inventory and the claims know; "
            "a user name is not a user id: see GET /v1/grants or the ticket",
            code="user_unknown",
        )
    if account_id is not None and context.world.get(Account, account_id) is None:
        raise NotFound(
            f"there is no account {account_id}, as far as the inventory and the claims know",
            code="account_unknown",
        )


def _stopped(event: TicketFact) -> list[str]:
    if event.grant_ids:
        return list(event.grant_ids)
    return [
        grant.id
        for grant in event.ticket.grants
        if not event.target_ids or grant.target_id in event.target_ids
    ]


async def revoke(
    context: Context,
    nudge: Callable[[], None],
    caller: Caller,
    *,
    reason: str,
    ticket_id: str | None = None,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Answer:
    """End every open claim of a ticket, a user or an account now; says what ended and what remains."""

    async def action() -> Answer:
        now = context.clock.now()
        if ticket_id is not None:
            await witnesses.lock_ticket(conn, ticket_id)
            stop = Stop(EndCause.REVOKED_BY_OPERATOR, caller.actor, reason)
            await witnesses.insert_stop(conn, ticket_id, stop, now=now)
        pairs = await claims.open_claims(conn, ticket_id=ticket_id, user_id=user_id, account_id=account_id)
        if not pairs:
            _refuse_unknown(context, user_id=user_id, account_id=account_id)
        stamp = Stamp(now, caller.actor, caller.cause)
        ended = await end_claims(conn, pairs, stamp=stamp, cause=EndCause.REVOKED_BY_OPERATOR, why=reason)
        remaining = await _remaining(conn, [claim_id for claim_id, _ in pairs], pairs)
        body: dict[str, Any] = {"ended": [shown(claim) for claim in ended], "remaining": remaining}
        if not pairs:
            body["note"] = "nothing was live" + (_STOPPED_LATER if ticket_id else "")
        return Answer(200, body)

    async with transaction(context.pool) as conn:
        answer = await idempotency.once(conn, caller.key, action, now=context.clock.now())
    nudge()
    return answer


async def _remaining(conn: Conn, matched: list[str], pairs: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """The access that is still there when this returns, and why."""
    ids = [assignment_id for _, assignment_id in pairs]
    rows = await assignments.lock_assignments(conn, ids)
    found = await claims.claims_of_assignments(conn, ids)
    remaining: list[dict[str, Any]] = []
    for row in rows.values():
        here = [claim for claim in found if claim.assignment_id == row.id]
        kept_by = [claim.id for claim in here if claim.id not in matched and _still_holds(claim)]
        revoking = [claim.id for claim in here if claim.id in matched and claim.state is ClaimState.REVOKING]
        if row.pre_existing:
            kept_by.append(NOT_OURS)
        why = "kept" if kept_by else "being_revoked" if revoking else None
        if why is not None:
            remaining.append(
                {"user_id": row.user_id, "account_id": row.account_id, "set_id": row.set_id, "why": why,
                 "kept_by": kept_by, "grants": revoking}
            )  # fmt: skip
    return remaining


def _still_holds(claim: Claim) -> bool:
    return claim.state in {ClaimState.GRANTING, ClaimState.ACTIVE}
