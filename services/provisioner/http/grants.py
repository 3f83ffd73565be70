"""Routes: grants, the operator's revocation, and what the engine does."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field, model_validator

from services.provisioner import views
from services.provisioner.commands import reading
from services.provisioner.commands.stops import Revoked, revoke
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.queue import Pace
from services.provisioner.http.shapes import (
    AssignmentRemaining,
    GrantListed,
    GrantShown,
    GrantWhole,
    OperationsShown,
    PauseShown,
    RevocationShown,
    with_names,
)
from shared.context import Context
from shared.foundation.shapes import ACCOUNT_ID, Body, exactly_one
from shared.http.access import PERSON, Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.names import account_id_of, user_id_of
from shared.http.pages import NameCursor, Page, cut
from shared.http.parameters import AccountIdFilter, Limit, TicketIdFilter, UserIdFilter
from shared.http.routers import make_router
from shared.http.writes import write
from shared.policy.snapshot import Snapshot
from shared.text.texts import Paragraph

_NOTHING_LIVE = "nothing was live; what was asked for before now is stopped, should its approval arrive later"


class Revocation(Body):
    """Exactly one of ticket, user and account says whose access ends."""

    model_config = ConfigDict(json_schema_extra=exactly_one("ticket_id", "user_id", "account_id"))

    ticket_id: str | None = Field(default=None, min_length=1, max_length=100)
    user_id: str | None = Field(default=None, min_length=1, max_length=100, description="not the user name")
    account_id: str | None = Field(
        default=None, pattern=ACCOUNT_ID, description="12 digits", examples=["111111111111"]
    )
    reason: Annotated[Paragraph, Field(min_length=10, max_length=1000)] = Field(
        examples=["The laptop of this person was stolen"]
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> "Revocation":
        if sum(value is not None for value in (self.ticket_id, self.user_id, self.account_id)) != 1:
            raise ValueError("give exactly one of ticket_id, user_id and account_id")
        return self


def router(context: Context, pace: Callable[[], Pace] = Pace) -> APIRouter:
    """`pace` says how fast AWS works for us at this moment."""
    routes = make_router("provisioner", "/v1")
    _add_grants(routes, context, pace)
    _add_revocation(routes, context)
    _add_engine(routes, context, pace)
    return routes


def _add_grants(routes: APIRouter, context: Context, pace: Callable[[], Pace]) -> None:
    @routes.get("/grants")
    async def list_grants(
        ticket_id: TicketIdFilter = None,
        account_id: AccountIdFilter = None,
        user_id: UserIdFilter = None,
        state: Annotated[list[ClaimState] | None, Query(description="any of these")] = None,
        cursor: NameCursor = None,
        limit: Limit = 50,
        caller: Caller = requires(PERSON, stale_ok=True),
    ) -> Page[GrantListed]:
        """The caller's own grants, newest first; all grants for those who may read tickets everywhere."""
        found = await reading.list_grants(
            context,
            caller,
            pace(),
            ticket_id=str(ticket_id) if ticket_id else None,
            account_id=account_id_of(context, caller, account_id),
            user_id=user_id_of(context, caller, user_id),
            states=state,
            after=cursor,
            limit=limit + 1,
        )
        items, next_cursor = cut(found, limit, lambda one: str(one["id"]))
        snapshot = context.policy.known()
        shown = [GrantListed(**with_names(snapshot, one)) for one in items]
        return Page[GrantListed](items=shown, next_cursor=next_cursor)

    @routes.get("/grants/{grant_id}")
    async def show_grant(
        grant_id: Annotated[str, Path(min_length=1, max_length=100)],
        caller: Caller = requires(PERSON, stale_ok=True),
    ) -> GrantWhole:
        """One grant, with what was last read of it in AWS."""
        found = await reading.read_grant(context, caller, pace(), grant_id)
        return GrantWhole(**with_names(context.policy.known(), found))


def _add_revocation(routes: APIRouter, context: Context) -> None:
    @routes.post(
        "/revocations",
        response_model=RevocationShown,
        responses={404: {"description": "nobody has this user id, or no account this id"}},
    )
    async def revoke_access(body: Revocation, caller: Caller = requires("terminate", stops=True)) -> Response:
        """End all access of a ticket, a user or an account now. Works without the broker."""
        return await write(
            context,
            caller,
            lambda work: revoke(context, work, caller, **body.model_dump()),
            partial(show_revoked, context.policy.known()),
        )


def _add_engine(routes: APIRouter, context: Context, pace: Callable[[], Pace]) -> None:
    @routes.get("/operations", dependencies=[requires("ops.read", stale_ok=True)])
    async def show_operations() -> OperationsShown:
        """The engine: who is active, what waits and for how long, what is in flight."""
        snapshot, found = context.policy.known(), await reading.read_operations(context, pace())
        named = {
            part: [with_names(snapshot, one) for one in found[part]]
            for part in ("in_flight", "failing", "waiting")
        }
        pause = PauseShown.of(found["pause"]) if found["pause"] else None
        return OperationsShown(**{**found, **named, "pause": pause})


def show_revoked(snapshot: Snapshot, result: Revoked) -> StoredAnswer:
    note = _NOTHING_LIVE if result.nothing_live else None
    shown = RevocationShown(
        ended=[GrantShown(**with_names(snapshot, views.shown(claim))) for claim in result.ended],
        remaining=[AssignmentRemaining(**with_names(snapshot, asdict(one))) for one in result.remaining],
        note=note,
    )
    return StoredAnswer(200, shown.model_dump(mode="json"))
