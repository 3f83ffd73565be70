"""Routes: grants, the operator's revocation, the inventory, and what the engine does."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.provisioner.commands import reading
from services.provisioner.commands.inventory import SyncResult, store_inventory
from services.provisioner.commands.stops import Revoked, revoke
from services.provisioner.domain.claims import ClaimState
from services.provisioner.inventory.sync import InventorySync
from services.provisioner.views import shown
from shared.context import Context
from shared.http.access import PERSON, Caller, requires
from shared.http.idempotency import Answer
from shared.http.writes import write, write_prepared
from shared.text.texts import Paragraph

_STOPPED_LATER = "; an approval of this ticket that arrives later is stopped, if there is such a ticket"


class Revocation(BaseModel):
    """Exactly one of ticket, user and account says whose access ends."""

    model_config = ConfigDict(extra="forbid")

    ticket_id: str | None = Field(default=None, min_length=1, max_length=100)
    user_id: str | None = Field(default=None, min_length=1, max_length=100, description="not the user name")
    account_id: str | None = Field(default=None, pattern=r"^[0-9]{12}$")
    reason: Annotated[Paragraph, Field(min_length=10, max_length=1000)]

    @model_validator(mode="after")
    def _one_of_three(self) -> "Revocation":
        if sum(value is not None for value in (self.ticket_id, self.user_id, self.account_id)) != 1:
            raise ValueError("give exactly one of ticket_id, user_id and account_id")
        return self


class Sync(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirm: bool = False
    """Believe AWS although a large part of the inventory is gone: somebody has looked."""


def router(context: Context, inventory: InventorySync) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["provisioner"])

    @routes.get("/grants")
    async def list_grants(
        ticket_id: str | None = None,
        account_id: str | None = None,
        user_id: str | None = None,
        state: Annotated[list[ClaimState] | None, Query()] = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        caller: Caller = requires(PERSON, stale_ok=True),
    ) -> dict[str, Any]:
        """The caller's own grants; all grants for who may read tickets everywhere."""
        return await reading.list_grants(
            context,
            caller,
            ticket_id=ticket_id,
            account_id=account_id,
            user_id=user_id,
            states=state,
            cursor=cursor,
            limit=limit,
        )

    @routes.get("/grants/{grant_id}")
    async def read_grant(grant_id: str, caller: Caller = requires(PERSON, stale_ok=True)) -> dict[str, Any]:
        """One grant, with what was last read of it in AWS."""
        return await reading.read_grant(context, caller, grant_id)

    @routes.post("/revocations")
    async def post_revocation(
        body: Revocation, caller: Caller = requires("terminate", stale_ok=True)
    ) -> Response:
        """End all access of a ticket, a user or an account now. Works without the broker."""
        return await write(
            context, caller, lambda work: revoke(context, work, caller, **body.model_dump()), show_revoked
        )

    @routes.post("/inventory/sync")
    async def post_inventory_sync(body: Sync, caller: Caller = requires("config.write")) -> Response:
        """Read AWS now, instead of at the next interval."""
        async with inventory.one_at_a_time:
            return await write_prepared(
                context,
                caller,
                partial(inventory.read_for_caller, context),
                lambda work, found: store_inventory(context, work, found, confirm=body.confirm),
                show_sync,
            )

    @routes.get("/operations")
    async def read_operations(caller: Caller = requires("ops.read", stale_ok=True)) -> dict[str, Any]:  # noqa: ARG001 (declares who may)
        """The engine: who is active, what waits, what is in flight."""
        return await reading.read_operations(context)

    return routes


def show_revoked(result: Revoked) -> Answer:
    body: dict[str, Any] = {
        "ended": [shown(claim) for claim in result.ended],
        "remaining": [
            asdict(one) | {"kept_by": list(one.kept_by), "grants": list(one.grants)}
            for one in result.remaining
        ],
    }
    if result.nothing_live:
        body["note"] = "nothing was live" + (_STOPPED_LATER if result.stops_later else "")
    return Answer(200, body)


def show_sync(result: SyncResult) -> Answer:
    return Answer(200, {"changed": len(result.changed), "removed": len(result.removed), "held": result.held})
