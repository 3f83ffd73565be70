"""Routes for tickets. Who may do what to which ticket is decided in the commands, on the ticket."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.ticket import views
from services.ticket.commands import tickets
from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.plan import Plan, make_plan
from services.ticket.domain.termination import Termination
from services.ticket.domain.window import Limits
from shared.context import Context
from shared.contracts.people import Person
from shared.contracts.ticket import Ticket, TicketState, WindowAsked
from shared.http.access import PERSON, Caller, requires
from shared.http.idempotency import Answer
from shared.http.web import etag
from shared.http.writes import write
from shared.policy.world import World
from shared.text.moments import Moment
from shared.text.texts import Paragraph, printable_paragraph


class TargetBody(BaseModel):
    """An account with a permission set, or with a group of sets."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(pattern=r"^[0-9]{12}$", description="12 digits")
    set: str | None = Field(default=None, max_length=64, description="id of a registered permission set")
    set_group: str | None = Field(default=None, max_length=64)


class TicketBody(BaseModel):
    """A request. Give `ends_at` or `duration` or neither; without `starts_at` it starts when approved."""

    model_config = ConfigDict(extra="forbid")

    targets: list[TargetBody] = Field(min_length=1, max_length=200)
    beneficiaries: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default=[], max_length=200, description="user names or user ids; empty means yourself"
    )
    reason: Annotated[str, Field(max_length=10_000), AfterValidator(printable_paragraph)]
    reference: str | None = Field(default=None, max_length=10_000)
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    duration: timedelta | None = Field(default=None, description="ISO 8601, such as PT1H, or seconds")

    def draft(self, caller: Caller) -> Draft:
        return Draft(
            requester=caller.user,
            beneficiaries=tuple(self.beneficiaries),
            targets=tuple(TargetAsked(one.account, one.set, one.set_group) for one in self.targets),
            asked=WindowAsked(starts_at=self.starts_at, ends_at=self.ends_at, duration=self.duration),
            reason=self.reason,
            reference=self.reference,
        )


class WhyBody(BaseModel):
    """Why something is ended; for the people concerned and the audit log."""

    model_config = ConfigDict(extra="forbid")

    reason: Paragraph = ""


class TerminateBody(WhyBody):
    """Which targets to end; empty means all that you may end."""

    targets: list[UUID] = Field(default=[], max_length=200)


def router(context: Context, limits: Limits) -> APIRouter:
    """The routes, in groups that each stay small; a new one joins its group, or begins another."""
    routes = APIRouter(prefix="/v1/tickets", tags=["tickets"])
    _add_submission(routes, context, limits)
    _add_reading(routes, context)
    _add_endings(routes, context)
    return routes


def _add_submission(routes: APIRouter, context: Context, limits: Limits) -> None:
    @routes.post("", status_code=201)
    async def submit(body: TicketBody, caller: Caller = requires(PERSON)) -> Response:
        """Ask for access. All problems are answered at once; send an Idempotency-Key to repeat safely."""
        draft = body.draft(caller)
        return await write(
            context,
            caller,
            lambda work: tickets.submit(context, work, caller, draft, limits),
            show_submitted,
        )

    @routes.post("/preview")
    async def preview(body: TicketBody, caller: Caller = requires(PERSON)) -> dict[str, Any]:
        """What submitting this would lead to, decided by the same code; changes nothing."""
        world = context.world
        plan = make_plan(body.draft(caller), world, now=context.clock.now(), limits=limits)
        return show_plan(plan, world)


def _add_reading(routes: APIRouter, context: Context) -> None:
    @routes.get("")
    async def list_tickets(
        mine: bool = True,
        state: TicketState | None = None,
        account: Annotated[str | None, Query(pattern=r"^[0-9]{12}$")] = None,
        cursor: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        caller: Caller = requires(PERSON),
    ) -> dict[str, Any]:
        """Your own tickets, newest first; with `mine=false` everybody's, for those who may read them all."""
        if not mine:
            tickets.require_reader(context, caller)
        wanted = views.Filter(
            party=caller.user_id if mine else None,
            state=state,
            account_id=account,
            before=str(cursor) if cursor else None,
            limit=limit,
        )
        async with context.pool.acquire() as conn:
            found = await views.tickets(conn, wanted)
        return {
            "items": [show_ticket(ticket) for ticket in found],
            "next": found[-1].id if len(found) == limit else None,
        }

    @routes.get("/{ticket_id}")
    async def show(ticket_id: UUID, response: Response, caller: Caller = requires(PERSON)) -> dict[str, Any]:
        async with context.pool.acquire() as conn:
            found = await views.ticket(conn, str(ticket_id))
        ticket = tickets.visible(context, caller, str(ticket_id), found)
        response.headers["ETag"] = etag(ticket.version)
        return show_ticket(ticket)


def _add_endings(routes: APIRouter, context: Context) -> None:
    @routes.post("/{ticket_id}/withdraw")
    async def withdraw(
        ticket_id: UUID, body: WhyBody | None = None, caller: Caller = requires(PERSON, stale_ok=True)
    ) -> Response:
        """The requester drops what is not yet granted."""
        why = body.reason if body else ""
        return await write(
            context,
            caller,
            lambda work: tickets.withdraw(context, work, caller, str(ticket_id), why=why),
            show_changed,
        )

    @routes.post("/{ticket_id}/return")
    async def return_access(
        ticket_id: UUID, body: WhyBody | None = None, caller: Caller = requires(PERSON, stale_ok=True)
    ) -> Response:
        """A beneficiary returns their own access."""
        why = body.reason if body else ""
        return await write(
            context,
            caller,
            lambda work: tickets.return_access(context, work, caller, str(ticket_id), why=why),
            show_changed,
        )

    @routes.post("/{ticket_id}/terminate", status_code=202)
    async def terminate(
        ticket_id: UUID, body: TerminateBody | None = None, caller: Caller = requires(PERSON, stale_ok=True)
    ) -> Response:
        """An approver of the target or an administrator ends access, on every ticket that gives it."""
        asked = body or TerminateBody()
        return await write(
            context,
            caller,
            lambda work: tickets.terminate(
                context,
                work,
                caller,
                str(ticket_id),
                target_ids=[str(one) for one in asked.targets],
                why=asked.reason,
            ),
            show_termination,
        )


def show_ticket(ticket: Ticket) -> dict[str, Any]:
    """A ticket as the API shows it: the contract's own words."""
    return ticket.model_dump(mode="json")


def show_submitted(ticket: Ticket) -> Answer:
    headers = {"ETag": etag(ticket.version), "Location": f"/v1/tickets/{ticket.id}"}
    return Answer(201, show_ticket(ticket), headers)


def show_changed(ticket: Ticket) -> Answer:
    return Answer(200, show_ticket(ticket), {"ETag": etag(ticket.version)})


def show_termination(ended: Termination) -> Answer:
    """Accepted, not done: the provisioner reports when the access is gone."""
    return Answer(
        202,
        {
            "ending": [asdict(one) for one in ended.ending],
            "withdrawn_targets": list(ended.withdrawn_targets),
            "remains": [asdict(one) for one in ended.remains],
            "credentials_until": _iso(ended.credentials_until),
            "note": "access ends when AWS was read back without it; credentials already issued "
            "may live until credentials_until",
        },
    )


def show_plan(plan: Plan, world: World) -> dict[str, Any]:
    """A preview: whether it would be accepted, what each target needs, and who could decide."""
    return {
        "acceptable": not plan.problems,
        "errors": [problem.as_dict() for problem in plan.problems],
        "duration": plan.length.total_seconds(),
        "starts_at": _iso(plan.asked.starts_at),
        "ends_at": _iso(plan.asked.ends_at),
        "beneficiaries": [Person.of(user).model_dump(mode="json") for user in plan.beneficiaries],
        "targets": [
            {
                "account": {"id": target.account.id, "name": target.account.name},
                "set": {
                    "id": target.permission_set.id,
                    "name": target.permission_set.name,
                    "allows": list(target.permission_set.summary),
                    "session_seconds": target.permission_set.session_duration.total_seconds(),
                },
                "allowed_by": list(target.allowed_by),
                "auto_approved_by": target.choice.auto_approved_by,
                "stages": [
                    {
                        "rule": stage.rule_id,
                        "needed": stage.needed,
                        "approvers": [_name(user_id, world) for user_id in sorted(people)],
                    }
                    for stage, people in zip(target.choice.stages, target.approvers, strict=True)
                ],
            }
            for target in plan.targets
        ],
    }


def _name(user_id: str, world: World) -> dict[str, str]:
    user = world.user(user_id)
    return {"user_id": user_id, "user_name": user.user_name if user else user_id}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
