"""What people do with tickets: submit, withdraw, return, terminate; and what they may see of them."""

from collections.abc import Sequence

from services.ticket import views
from services.ticket.domain import endings, rights, submission, termination
from services.ticket.domain.draft import Draft
from services.ticket.domain.plan import Plan, make_plan
from services.ticket.domain.termination import Termination
from services.ticket.domain.window import Limits
from services.ticket.settings import TicketSettings
from services.ticket.store import tickets as store
from shared.context import Context
from shared.contracts.ticket import Ticket
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import Denied, Forbidden, NotFound
from shared.http.access import Caller


def limits_of(settings: TicketSettings) -> Limits:
    return Limits(
        shortest_window=settings.shortest_window,
        longest_lead=settings.longest_lead,
        default_window=settings.default_window,
        pending_limit=settings.pending_limit,
        most_grants=settings.most_grants,
        shortest_reason=settings.shortest_reason,
        protected=frozenset(settings.protected_accounts),
    )


async def submit(context: Context, work: UnitOfWork, caller: Caller, draft: Draft, limits: Limits) -> Ticket:
    """A new ticket, or all its problems at once."""
    snapshot, origin = context.policy.snapshot(purpose="write"), caller.origin(context.clock.now())
    plan = make_plan(draft, snapshot, now=origin.at, limits=limits)
    submission.require_acceptable(plan)
    change = submission.submit(
        plan,
        ids=_new_ids(plan),
        instance=context.settings.instance,
        revisions=snapshot.revisions,
        limits=limits,
        origin=origin,
    )
    await store.add(work, change)
    return change.state


def _new_ids(plan: Plan) -> submission.Ids:
    return submission.Ids(
        ticket=new_id(),
        targets=tuple(new_id() for _ in plan.targets),
        subjects=tuple(new_id() for _ in plan.targets),
        grants=tuple(new_id() for _ in range(len(plan.targets) * len(plan.beneficiaries))),
    )


async def withdraw(context: Context, work: UnitOfWork, caller: Caller, ticket_id: str, *, why: str) -> Ticket:
    """The requester drops what is not yet granted."""
    ticket = visible(context, caller, ticket_id, await store.load(work, ticket_id))
    origin = caller.origin(context.clock.now(), why)
    change = endings.withdraw(ticket, caller.user_id, origin)
    await store.save(work, ticket, change)
    return change.state


async def return_access(
    context: Context, work: UnitOfWork, caller: Caller, ticket_id: str, *, why: str
) -> Ticket:
    """A beneficiary returns their own access before its end."""
    ticket = visible(context, caller, ticket_id, await store.load(work, ticket_id))
    origin = caller.origin(context.clock.now(), why)
    change = endings.return_access(ticket, caller.user_id, origin)
    await store.save(work, ticket, change)
    return change.state


async def terminate(
    context: Context,
    work: UnitOfWork,
    caller: Caller,
    ticket_id: str,
    *,
    target_ids: Sequence[str],
    why: str,
) -> Termination:
    """End the ticket's targets (all the caller may end, or those named) and the same access elsewhere.

    Never blocked by policy, order or the bus.
    """
    origin = caller.origin(context.clock.now(), why)
    seen = visible(context, caller, ticket_id, await views.ticket(work.conn, ticket_id))
    # Locked only now, all in one order, so that two terminations cannot block each other.
    tickets = await store.load_all(work, await store.same_access(work.conn, seen))
    ticket = next(one for one in tickets if one.id == ticket_id)
    may_end = rights.may_end(ticket, caller.user_id, context.policy.known(), now=origin.at)
    selection = termination.select(ticket, target_ids, may_end)
    stops = termination.find_stops(ticket, selection, tickets)
    for stop in stops:
        await store.save(work, stop.ticket, termination.terminate(stop, origin))
    return termination.outcome(ticket, selection, stops)


def visible(context: Context, caller: Caller, ticket_id: str, ticket: Ticket | None) -> Ticket:
    """The ticket; `NotFound` when it is not there or, which is a refusal, not for the caller to see."""
    denied = None
    if ticket is not None:
        if rights.may_see(ticket, caller.user_id, context.policy.known(), now=context.clock.now()):
            return ticket
        context.policy.snapshot()  # not knowing yet is no reason to say "not found"
        denied = Denied("ticket.read", ticket_id, object_id=ticket_id)
    raise NotFound("there is no such ticket, or it is not yours to see", code="ticket_unknown", denied=denied)


def require_reader(context: Context, caller: Caller) -> None:
    """`Forbidden` unless the caller may read everybody's tickets."""
    if not context.policy.snapshot().may(caller.user_id, "ticket.read", now=context.clock.now()).allowed:
        raise Forbidden(
            "only administrators and auditors list everybody's tickets",
            code="not_permitted",
            denied=Denied("ticket.read", caller.user_id),
        )
