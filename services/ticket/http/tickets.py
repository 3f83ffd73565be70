"""Routes for tickets. Who may do what to which ticket is decided in the commands, on the ticket."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AfterValidator, ConfigDict, Field

from services.ticket import views
from services.ticket.commands import tickets
from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.plan import make_plan
from services.ticket.domain.termination import Termination
from services.ticket.domain.window import LONGEST_REASON, Limits
from services.ticket.http.shapes import TerminationShown, TicketPlanShown, TicketShown
from shared.context import Context
from shared.contracts.description import Description
from shared.contracts.ticket import Target, Ticket, TicketState
from shared.contracts.windows import WindowAsked
from shared.foundation.shapes import Body, exactly_one
from shared.http.access import PERSON, Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.names import Name, account_id_of
from shared.http.openapi import WITHOUT_KEY, success
from shared.http.pages import IdCursor, Page, cut
from shared.http.parameters import AccountIdFilter, Limit
from shared.http.routers import make_router
from shared.http.web import etag
from shared.http.writes import write
from shared.text.durations import Duration
from shared.text.moments import Moment
from shared.text.texts import Paragraph, printable_paragraph

_STOPPING: Final = requires(PERSON, stops=True)
_MOST: Final = "with the beneficiaries at most 50 grants (JIT_MOST_GRANTS): targets times beneficiaries"


class TargetBody(Body):
    """An account with a permission set, or with a group of sets. Where a name is not unique, give the id."""

    model_config = ConfigDict(json_schema_extra=exactly_one("set", "set_group"))

    account: Name = Field(
        description="a registered account: its 12 digits, its name or its ARN",
        examples=["111111111111", "prod-payments"],
    )
    set: Name | None = Field(
        default=None,
        description="a registered permission set: its id, name or ARN; either this or `set_group`",
        examples=["ps-00000000000000ad", "Administrator"],
    )
    set_group: Name | None = Field(
        default=None, description="a group of sets: its id or name; either this or `set`"
    )


class TicketBody(Description, Body):
    """A request. Give `ends_at` or `duration` or neither; without `starts_at` it starts when approved."""

    targets: list[TargetBody] = Field(min_length=1, max_length=200, description=_MOST)
    beneficiaries: list[Name] = Field(
        default=[],
        max_length=200,
        description="people by user name, e-mail or user id; empty means yourself",
        examples=[["ann@example.com"]],
    )
    reason: Annotated[str, Field(max_length=10_000), AfterValidator(printable_paragraph)] = Field(
        description="why; approvers and auditors read it. It has at least 10 characters, or as many as "
        "`JIT_SHORTEST_REASON` says",
        examples=["Look into INC-4711: orders are not shipped"],
        json_schema_extra={"minLength": 1, "maxLength": LONGEST_REASON},
    )
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    duration: Duration | None = None

    def draft(self, caller: Caller) -> Draft:
        return Draft(
            requester=caller.user,
            beneficiaries=tuple(self.beneficiaries),
            targets=tuple(TargetAsked(one.account, one.set, one.set_group) for one in self.targets),
            asked=WindowAsked(starts_at=self.starts_at, ends_at=self.ends_at, duration=self.duration),
            reason=self.reason,
            description=self.description(),
        )


class WhyBody(Body):
    """Why something is ended; for the people concerned and the audit log."""

    reason: Paragraph = Field(default="", examples=["The incident is over"])


class TerminateBody(WhyBody):
    """Which targets to end; empty means all that you may end."""

    targets: list[UUID] = Field(
        default=[], max_length=200, examples=[["01890000-0000-7000-8000-000000000002"]]
    )


def router(context: Context, limits: Limits) -> APIRouter:
    """The routes, in groups that each stay small; a new one joins its group, or begins another."""
    routes = make_router("tickets", "/v1/tickets")
    _add_submission(routes, context, limits)
    _add_reading(routes, context)
    _add_endings(routes, context)
    return routes


def _add_submission(routes: APIRouter, context: Context, limits: Limits) -> None:
    @routes.post(
        "",
        status_code=201,
        response_model=TicketShown,
        responses={201: success("ETag", "Location")},
    )
    async def submit_ticket(body: TicketBody, caller: Caller = requires(PERSON)) -> Response:
        """Ask for access. All problems are answered at once; send an Idempotency-Key to repeat safely."""
        draft = body.draft(caller)
        return await write(
            context,
            caller,
            lambda work: tickets.submit(context, work, caller, draft, limits),
            show_submitted,
        )

    @routes.post("/preview", openapi_extra=WITHOUT_KEY)
    async def preview_ticket(body: TicketBody, caller: Caller = requires(PERSON)) -> TicketPlanShown:
        """What submitting this would lead to, decided by the same code; changes nothing."""
        snapshot = context.policy.snapshot(purpose="write")
        plan = make_plan(body.draft(caller), snapshot, now=context.clock.now(), limits=limits)
        return TicketPlanShown.of(plan, snapshot)


def _add_reading(routes: APIRouter, context: Context) -> None:
    @routes.get("")
    async def list_tickets(
        mine: Annotated[
            bool, Query(description="false: everybody's, for those who may read them all")
        ] = True,
        state: TicketState | None = None,
        account_id: AccountIdFilter = None,
        cursor: IdCursor = None,
        limit: Limit = 50,
        caller: Caller = requires(PERSON),
    ) -> Page[TicketShown]:
        """Your own tickets, newest first; with `mine=false` everybody's, for those who may read them all."""
        if not mine:
            tickets.require_reader(context, caller)
        wanted = views.Filter(
            party=caller.user_id if mine else None,
            state=state,
            account_id=account_id_of(context, caller, account_id),
            before=cursor,
            limit=limit + 1,
        )
        async with context.pool.acquire() as conn:
            found = await views.tickets(conn, wanted)
        items, next_cursor = cut(found, limit, lambda ticket: ticket.id)
        shown = [TicketShown.of(ticket) for ticket in items]
        return Page[TicketShown](items=shown, next_cursor=next_cursor)

    @routes.get("/{ticket_id}", responses={200: success("ETag")})
    async def show_ticket(
        ticket_id: UUID, response: Response, caller: Caller = requires(PERSON)
    ) -> TicketShown:
        """A ticket with its targets and grants as they stand."""
        async with context.pool.acquire() as conn:
            found = await views.ticket(conn, str(ticket_id))
        ticket = tickets.visible(context, caller, str(ticket_id), found)
        response.headers["ETag"] = etag(ticket.version)
        return TicketShown.of(ticket)

    @routes.get("/{ticket_id}/revisions")
    async def list_revisions_of_ticket(
        ticket_id: UUID, cursor: IdCursor = None, limit: Limit = 50, caller: Caller = requires(PERSON)
    ) -> Page[Target]:
        """Targets as they were asked for before, the last first; the ticket itself shows those of now."""
        async with context.pool.acquire() as conn:
            found = await views.ticket(conn, str(ticket_id))
            ticket = tickets.visible(context, caller, str(ticket_id), found)
            earlier = await views.earlier_revisions(conn, ticket.id, before=cursor, limit=limit + 1)
        items, next_cursor = cut(earlier, limit, lambda target: target.subject_id)
        return Page[Target](items=items, next_cursor=next_cursor)


def _add_endings(routes: APIRouter, context: Context) -> None:
    @routes.post("/{ticket_id}/withdraw", response_model=TicketShown, responses={200: success("ETag")})
    async def withdraw_ticket(
        ticket_id: UUID, body: WhyBody | None = None, caller: Caller = _STOPPING
    ) -> Response:
        """The requester drops what is not yet granted."""
        why = body.reason if body else ""
        return await write(
            context,
            caller,
            lambda work: tickets.withdraw(context, work, caller, str(ticket_id), why=why),
            show_changed,
        )

    @routes.post("/{ticket_id}/return", response_model=TicketShown, responses={200: success("ETag")})
    async def return_ticket(
        ticket_id: UUID, body: WhyBody | None = None, caller: Caller = _STOPPING
    ) -> Response:
        """A beneficiary returns their own access."""
        why = body.reason if body else ""
        return await write(
            context,
            caller,
            lambda work: tickets.return_access(context, work, caller, str(ticket_id), why=why),
            show_changed,
        )

    @routes.post("/{ticket_id}/terminate", status_code=202, response_model=TerminationShown)
    async def terminate_ticket(
        ticket_id: UUID, body: TerminateBody | None = None, caller: Caller = _STOPPING
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


def show_submitted(ticket: Ticket) -> StoredAnswer:
    headers = {"ETag": etag(ticket.version), "Location": f"/v1/tickets/{ticket.id}"}
    return StoredAnswer(201, TicketShown.of(ticket).model_dump(mode="json"), headers)


def show_changed(ticket: Ticket) -> StoredAnswer:
    return StoredAnswer(200, TicketShown.of(ticket).model_dump(mode="json"), {"ETag": etag(ticket.version)})


def show_termination(ended: Termination) -> StoredAnswer:
    """Accepted, not done: the provisioner reports when the access is gone."""
    return StoredAnswer(202, TerminationShown.of(ended).model_dump(mode="json"))
