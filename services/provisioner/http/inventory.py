"""Routes: how old the inventory is and what of it is held; reading AWS now; confirming what is held."""

from collections import Counter
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from services.provisioner import views
from services.provisioner.commands.inventory import SyncResult, confirm_hold, store_inventory
from services.provisioner.domain.inventory import Guard, hold_id
from services.provisioner.http.shapes import SyncShown
from services.provisioner.inventory.sync import InventorySync
from shared.context import Context
from shared.contracts.change import Origin
from shared.foundation.shapes import Body, Shown
from shared.http.access import Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.routers import make_router
from shared.http.writes import write, write_prepared
from shared.text.texts import Paragraph

_NAMED = 50


class Sync(Body):
    """Nothing has to be said about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class Confirmation(Body):
    """Somebody has looked, and what is held is gone indeed."""

    hold: str = Field(min_length=1, max_length=100, examples=["d15c4a0656effaf6"])
    """As `GET /v1/inventory` names it."""

    reason: Annotated[Paragraph, Field(min_length=10, max_length=1000)] = Field(
        examples=["The webshop's accounts were closed this morning, see change 4711"]
    )


class HoldShown(Shown):
    """What disappeared from AWS at once and is not believed to be gone."""

    hold: str = Field(description="names exactly these, for the confirmation")
    since: datetime = Field(description="when the first of them was missed")
    missing: dict[str, int] = Field(description="how many of which kind")
    some: list[str] = Field(description="keys of the first 50: `<kind>/<id>`, `membership/<group>/<user>`")


class PartsShown(Shown):
    """One sort of what is read of AWS."""

    kind: str
    count: int
    oldest: datetime
    newest: datetime


class InventoryShown(Shown):
    """How far the inventory can be relied on."""

    read_at: datetime | None = Field(description="the directory is not older; null before it was read once")
    parts: list[PartsShown]
    held: HoldShown | None
    left_out: dict[str, str] = Field(description="rows of AWS that cannot be read, with the reason")


def router(context: Context, inventory: InventorySync, guard: Guard) -> APIRouter:
    routes = make_router("inventory", "/v1/inventory")

    @routes.get("", dependencies=[requires("ops.read")])
    async def show_inventory() -> InventoryShown:
        """What was read of AWS and when, what of it is held, and what cannot be read."""
        async with context.pool.acquire() as conn:
            found = await views.inventory(conn, details_within=guard.details_within)
        return InventoryShown(**{**found, "held": _hold(found["held"])})

    @routes.post("/sync", response_model=SyncShown)
    async def sync_inventory(_body: Sync, caller: Caller = requires("config.write")) -> Response:
        """Read AWS now, instead of at the next interval.

        A large organisation takes longer than a call: then `still_reading` says that it goes on by itself.
        """
        async with inventory.turn():
            return await write_prepared(
                context,
                caller,
                partial(inventory.read_for_caller, context),
                lambda work, found: store_inventory(context, work, found, guard=guard),
                show_sync,
            )

    @routes.post(
        "/confirm",
        response_model=SyncShown,
        responses={
            404: {"description": "nothing is held"},
            409: {"description": "what is held has changed since it was looked at"},
        },
    )
    async def confirm_inventory(body: Confirmation, caller: Caller = requires("config.write")) -> Response:
        """Believe that what is held is gone: somebody has looked. AWS is not read."""
        looked = Origin(caller.actor, at=context.clock.now(), cause=caller.cause, why=body.reason)
        return await write(
            context,
            caller,
            lambda work: confirm_hold(context, work, body.hold, looked, guard=guard),
            show_sync,
        )

    return routes


def show_sync(result: SyncResult) -> StoredAnswer:
    shown = SyncShown(
        changed=len(result.changed), removed=len(result.removed), held=result.held, hold=result.hold
    )
    return StoredAnswer(200, shown.model_dump(mode="json"))


def _hold(held: list[tuple[str, datetime]]) -> HoldShown | None:
    if not held:
        return None
    keys = sorted(key for key, _ in held)
    return HoldShown(
        hold=hold_id(keys),
        since=min(found_at for _, found_at in held),
        missing=Counter(key.partition("/")[0] for key in keys),
        some=keys[:_NAMED],
    )
