"""What people do with tickets: submit, withdraw, return. One transaction each.

Termination, which reaches into other tickets, is in termination.py.
"""

from services.ticket import store
from services.ticket.commands.telling import SERVICE, by, say
from services.ticket.domain import life
from services.ticket.domain.plan import Draft, Plan, make_plan
from services.ticket.domain.window import Limits
from services.ticket.settings import TicketSettings
from services.ticket.views import shown
from shared.context import Context
from shared.contracts.ticket import (
    TargetState,
    Ticket,
    TicketReturned,
    TicketSubmitted,
    TicketWithdrawn,
)
from shared.database.pool import Conn, transaction
from shared.foundation.clock import new_id
from shared.foundation.errors import Denied, Forbidden, Invalid, NotFound
from shared.http.access import Caller
from shared.http.idempotency import Answer, once
from shared.http.web import etag
from shared.messaging import outbox


def limits_of(settings: TicketSettings) -> Limits:
    return Limits(
        shortest_window=settings.shortest_window,
        longest_lead=settings.longest_lead,
        default_window=settings.default_window,
        pending_limit=settings.pending_limit,
        most_grants=settings.most_grants,
        protected=frozenset(settings.protected_accounts),
    )


def plan(context: Context, draft: Draft, limits: Limits) -> Plan:
    """What a draft would become now; changes nothing."""
    return make_plan(draft, context.world, now=context.clock.now(), limits=limits)


async def submit(context: Context, caller: Caller, draft: Draft, limits: Limits) -> Answer:
    """A new ticket, or all its problems at once."""
    now = context.clock.now()

    async def action() -> Answer:
        made = plan(context, draft, limits)
        if made.problems:
            raise Invalid(
                f"{len(made.problems)} problem(s) with this request; see errors",
                code="ticket_invalid",
                fields=made.problems,
                denied=_denied_by(made, caller),
            )
        ids = life.Ids(
            ticket=new_id(),
            targets=tuple(new_id() for _ in made.targets),
            grants=tuple(new_id() for _ in range(len(made.targets) * len(made.beneficiaries))),
        )
        ticket = life.submit(
            made,
            ids=ids,
            instance=context.settings.instance,
            revisions=context.world.revisions,
            now=now,
            limits=limits,
        )
        await store.add(conn, ticket)
        fact = TicketSubmitted(
            subject=ticket.id,
            version=ticket.version,
            actor=caller.actor,
            why=ticket.reason,
            cause=caller.cause,
            at=now,
            ticket=ticket,
            allowed_by=tuple(sorted({rule for target in made.targets for rule in target.allowed_by})),
        )
        await outbox.append(conn, SERVICE, fact)
        return answer_with(ticket, status=201)

    async with transaction(context.pool) as conn:
        return await once(conn, caller.key, action, now=now)


def _denied_by(made: Plan, caller: Caller) -> Denied | None:
    """A request somebody has no right to is a fact; a typing error is not."""
    if not any(problem.code in {"denied", "not_permitted"} for problem in made.problems):
        return None
    targets = ", ".join(f"{target.permission_set.id} on {target.account.id}" for target in made.targets)
    return Denied("request", caller.user_id, object_id=targets)


async def withdraw(context: Context, caller: Caller, ticket_id: str, *, why: str) -> Answer:
    """The requester drops what is not yet granted."""
    now = context.clock.now()

    async def action() -> Answer:
        ticket = await load_visible(conn, context, caller, ticket_id)
        if ticket.requester.user_id != caller.user_id:
            raise Forbidden(
                "only the requester withdraws a ticket",
                code="not_requester",
                denied=Denied("withdraw", ticket_id, object_id=ticket_id),
            )
        targets, grants = life.withdrawable(ticket)
        changed = life.settle(ticket, targets, TargetState.WITHDRAWN, at=now)
        changed = life.stop(changed, grants, code="withdrawn")
        origin = by(caller, at=now, why=why)
        return answer_with(await say(conn, changed, TicketWithdrawn, origin, targets=targets, grants=grants))

    async with transaction(context.pool) as conn:
        return await once(conn, caller.key, action, now=now)


async def give_back(context: Context, caller: Caller, ticket_id: str, *, why: str) -> Answer:
    """A beneficiary returns his own access before its end."""
    now = context.clock.now()

    async def action() -> Answer:
        ticket = await load_visible(conn, context, caller, ticket_id)
        grants = life.returnable(ticket, caller.user_id)
        changed = life.stop(ticket, grants, code="returned")
        return answer_with(
            await say(conn, changed, TicketReturned, by(caller, at=now, why=why), grants=grants)
        )

    async with transaction(context.pool) as conn:
        return await once(conn, caller.key, action, now=now)


async def load_visible(conn: Conn, context: Context, caller: Caller, ticket_id: str) -> Ticket:
    """The ticket, locked; `NotFound` when it is not there or not for the caller to see."""
    ticket = await store.load(conn, ticket_id)
    if ticket is None or not may_see(ticket, caller, context):
        raise hidden(ticket_id)
    return ticket


def may_see(ticket: Ticket, caller: Caller, context: Context) -> bool:
    """Parties see their ticket; approvers of one of its targets, administrators and auditors do too."""
    if caller.user_id in life.parties(ticket):
        return True
    now = context.clock.now()
    seen = any(
        context.world.may(
            caller.user_id, verb, account_id=target.account_id, set_id=target.set_id, now=now
        ).allowed
        for target in ticket.targets
        for verb in ("ticket.read", "terminate")
    )
    if not seen:
        context.tables.require_ready()  # not knowing yet is no reason to say "not found"
    return seen


def hidden(ticket_id: str) -> NotFound:
    return NotFound(
        "there is no such ticket, or it is not yours to see",
        code="ticket_unknown",
        denied=Denied("ticket.read", ticket_id, object_id=ticket_id),
    )


def answer_with(ticket: Ticket, *, status: int = 200) -> Answer:
    headers = {"ETag": etag(ticket.version)}
    if status == 201:
        headers["Location"] = f"/v1/tickets/{ticket.id}"
    return Answer(status, shown(ticket), headers)
