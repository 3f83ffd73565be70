"""Routes: pausing grants and resuming them."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from services.provisioner.commands.pause import Paused, pause_grants, resume_grants
from services.provisioner.domain.pause import Pause
from services.provisioner.http.shapes import PauseBegun, PauseShown
from shared.context import Context
from shared.foundation.shapes import Body
from shared.http.access import Caller, requires
from shared.http.idempotency import StoredAnswer
from shared.http.routers import make_router
from shared.http.writes import write
from shared.text.texts import Paragraph


class Reason(Body):
    reason: Annotated[Paragraph, Field(min_length=10, max_length=1000)] = Field(
        examples=["Approvals came that nobody remembers; until we know more"]
    )


def router(context: Context) -> APIRouter:
    routes = make_router("provisioner", "/v1/grants")

    @routes.post(
        "/pause", response_model=PauseBegun, responses={409: {"description": "grants are paused already"}}
    )
    async def pause_all_grants(body: Reason, caller: Caller = requires("terminate", stops=True)) -> Response:
        """Let no grant begin and no end move from now on. What takes access away goes on."""
        return await write(
            context, caller, lambda work: pause_grants(context, work, caller, reason=body.reason), show_paused
        )

    @routes.post(
        "/resume", response_model=PauseShown, responses={409: {"description": "grants are not paused"}}
    )
    async def resume_all_grants(body: Reason, caller: Caller = requires("ops.write")) -> Response:
        """Let grants begin again; answers with the pause that is over."""
        return await write(
            context,
            caller,
            lambda work: resume_grants(context, work, caller, reason=body.reason),
            show_resumed,
        )

    return routes


def show_paused(result: Paused) -> StoredAnswer:
    shown = PauseBegun(**PauseShown.of(result.pause).model_dump(), begun=list(result.begun))
    return StoredAnswer(200, shown.model_dump(mode="json"))


def show_resumed(result: Pause) -> StoredAnswer:
    return StoredAnswer(200, PauseShown.of(result).model_dump(mode="json"))
