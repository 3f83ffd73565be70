"""Routes: the conflicts of identities and their rebinding; and first sight, which every route may lead to."""

from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from services.provisioner import views
from services.provisioner.commands.bindings import rebind_conflict, see
from services.provisioner.domain.bindings import Known, Named, Rebinding, Retired, Sighting
from shared.context import Context
from shared.contracts.change import Origin
from shared.foundation.shapes import Body, Shown
from shared.http.access import Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.pages import IdCursor, Page, cut
from shared.http.parameters import Limit
from shared.http.routers import make_router
from shared.http.writes import write
from shared.identity.bindings import FirstSight, Sight, conflicting, replaced
from shared.policy.snapshot import Snapshot
from shared.text.texts import Paragraph


class Rebind(Body):
    """Why the conflict's subject is to be its user from now on."""

    reason: Annotated[Paragraph, Field(min_length=10, max_length=1000)] = Field(
        examples=["Made anew in the identity provider; called back and recognised"]
    )


class ConflictShown(Shown):
    """A token that holds named a user who is not its subject's. Nobody gets in by it."""

    id: UUID
    iss: str
    sub: str = Field(description="the subject that was refused")
    user_id: str = Field(description="the user its token names")
    user_name: str | None = Field(description="null for a user who is gone")
    bound_user_id: str | None = Field(description="whom the subject is bound to, if anybody")
    bound_user_name: str | None
    bound_sub: str | None = Field(description="what subject the user is bound to, if any")
    lookup: str = Field(description="by what the token named the user")
    lookup_value: str
    found_at: datetime


class RebindingShown(Shown):
    """The subject is the user from now on."""

    conflict_id: UUID
    iss: str
    sub: str
    user_id: str
    quiet_until: datetime = Field(description="until then the user neither votes nor administers")


def recognition(context: Context) -> FirstSight:
    """First sight where the bindings are: any route of this service leads to it, with no broker."""
    return partial(recognise, context)


async def recognise(context: Context, sight: Sight) -> str:
    """The id of the user a token is; a conflict is stored before it is refused."""
    claims = sight.claims
    named = Named(claims.lookup, claims.lookup_value, claims.external_id_issuer)
    user = sight.user
    seen = Sighting(claims.iss, claims.sub, user.id, user.user_name, named, claims.proof)
    async with context.unit_of_work() as work:
        found = await see(context, work, seen, Origin(sight.actor, context.clock.now(), sight.cause))
    if isinstance(found, Known):
        return user.id
    raise replaced() if isinstance(found, Retired) else conflicting(found.id)


def router(context: Context) -> APIRouter:
    routes = make_router("bindings", "/v1/bindings")

    @routes.get("/conflicts", dependencies=[requires("config.read")])
    async def list_binding_conflicts(cursor: IdCursor = None, limit: Limit = 50) -> Page[ConflictShown]:
        """Sign-ins that were refused since their subject or user is bound otherwise, the newest first."""
        async with context.pool.acquire() as conn:
            found = await views.binding_conflicts(conn, after=cursor, limit=limit + 1)
        items, next_cursor = cut(found, limit, lambda one: str(one["id"]))
        snapshot = context.policy.snapshot()
        shown = [
            ConflictShown(
                **one,
                user_name=_name(snapshot, one["user_id"]),
                bound_user_name=_name(snapshot, one["bound_user_id"]),
            )
            for one in items
        ]
        return Page[ConflictShown](items=shown, next_cursor=next_cursor)

    @routes.post(
        "/{conflict_id}/rebind",
        response_model=RebindingShown,
        responses={409: {"description": "the world has changed since the conflict was found"}},
    )
    async def rebind_binding(
        conflict_id: UUID, body: Rebind, caller: Caller = requires("config.write")
    ) -> Response:
        """Let the conflict's subject be its user. What stood against it is over for ever."""
        return await write(
            context,
            caller,
            lambda work: rebind_conflict(context, work, caller, str(conflict_id), reason=body.reason),
            show_rebinding,
        )

    return routes


def show_rebinding(result: Rebinding) -> StoredAnswer:
    binding = result.binding
    shown = RebindingShown(
        conflict_id=UUID(result.conflict.id),
        iss=binding.iss,
        sub=binding.sub,
        user_id=binding.user_id,
        quiet_until=binding.quiet_until or binding.bound_at,
    )
    return StoredAnswer(200, shown.model_dump(mode="json"))


def _name(snapshot: Snapshot, user_id: str | None) -> str | None:
    user = snapshot.user(user_id) if user_id else None
    return user.user_name if user else None
