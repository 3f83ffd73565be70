"""What a caller may see of grants: their own, and those of others where the policy lets them read tickets.

Works while the policy is not there: who ends access in an incident has to see what is live.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from services.provisioner import views
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.queue import Pace, expected_of, in_line
from services.provisioner.store import pause
from shared.context import Context
from shared.database.pool import Conn
from shared.foundation.errors import Denied, NotFound
from shared.http.access import Caller
from shared.policy.engine import NOT_READY
from shared.policy.row import Answer

VERB = "ticket.read"
_CALLS: Final = {ClaimState.SCHEDULED: "create", ClaimState.GRANTING: "create", ClaimState.REVOKING: "delete"}
"""What a grant may wait for at AWS's limit, by its state."""


async def list_grants(
    context: Context,
    caller: Caller,
    pace: Pace,
    *,
    ticket_id: str | None,
    account_id: str | None,
    user_id: str | None,
    states: Sequence[ClaimState] | None,
    after: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first. Who may not read everything gets their own, whatever user they name."""
    everything = _may_read(context, caller).allowed
    if not everything and user_id not in {None, caller.user_id}:
        return []
    async with context.pool.acquire() as conn:
        found = await views.grants(
            conn,
            user_id=user_id if everything else caller.user_id,
            ticket_id=ticket_id,
            account_id=account_id,
            states=[state.value for state in states] if states else None,
            after=after,
            limit=limit,
        )
        return await _with_expected(conn, found, context.clock.now(), pace)


async def read_grant(context: Context, caller: Caller, pace: Pace, grant_id: str) -> dict[str, Any]:
    """One grant; 404 for who may not see it, as if it were not there."""
    async with context.pool.acquire() as conn:
        found = await views.grant(conn, grant_id)
        if found is None:
            raise NotFound("there is no such grant", code="grant_unknown")
        [found] = await _with_expected(conn, [found], context.clock.now(), pace)
    if found["user_id"] == caller.user_id:
        return found
    answer = _may_read(context, caller, found["account_id"], found["set_id"])
    if not answer.allowed:
        denied = Denied(VERB, found["ticket_id"], rules=answer.rules, object_id=grant_id)
        raise NotFound("there is no such grant", code="grant_unknown", denied=denied)
    return found


async def _with_expected(
    conn: Conn, grants: Sequence[dict[str, Any]], now: datetime, pace: Pace
) -> list[dict[str, Any]]:
    """Each with when it may be expected to start, where it waits for AWS's limit."""
    if not any(one["state"] in _CALLS for one in grants):
        return [{**one, "expected": None} for one in grants]
    expected = expected_of(in_line(await views.waiting(conn, now=now), pace))
    return [
        {**one, "expected": expected.get((one["user_id"], one["account_id"], one["set_id"], _call(one)))}
        for one in grants
    ]


def _call(grant: dict[str, Any]) -> str | None:
    return _CALLS.get(grant["state"])


def _may_read(
    context: Context, caller: Caller, account_id: str | None = None, set_id: str | None = None
) -> Answer:
    """While the policy cannot be asked, those may whose role alone lets them read operations."""
    now = context.clock.now()
    answer = context.policy.known().may(caller.user_id, VERB, account_id, set_id, now=now)
    if answer.code != NOT_READY.code:
        return answer
    return context.policy.known().may(caller.user_id, "ops.read", now=now)


async def read_operations(context: Context, pace: Pace) -> dict[str, Any]:
    now = context.clock.now()
    async with context.pool.acquire() as conn:
        found = await views.operations(conn, now=now)
        waiting = in_line(await views.waiting(conn, now=now), pace)
        return {**found, "pause": await pause.find(conn), "waiting": waiting}
