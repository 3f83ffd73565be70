"""HTTP for auditors, and each ticket's trail for its parties. Every reading is a record before it is shown.

Auditors get records as the bytes that are stored and published, never rendered again; parties get theirs
without what is none of their business (domain/party.py).
"""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import asyncpg
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import ConfigDict, Field

from services.audit import commands, views
from services.audit.domain.ocsf import Json
from services.audit.domain.party import for_parties
from services.audit.domain.registry import CODES
from services.audit.views import Filters, Item, Range
from shared.context import Context
from shared.foundation.errors import FieldError, Invalid, NotFound, NotReady
from shared.foundation.shapes import Shown
from shared.http.access import PERSON, Caller, requires
from shared.http.names import account_id_of, actor_of, user_id_of
from shared.http.openapi import success
from shared.http.pages import NumberCursor, Page, cut
from shared.http.parameters import AccountIdFilter, Limit, Since, Until, UserIdFilter
from shared.http.routers import make_router
from shared.http.wording import nearest
from shared.observability.logs import logger
from shared.policy.names import LONGEST

log = logger("audit")

NDJSON: Final = "application/x-ndjson"
_BATCH: Final = 500
"""Records per query of an export: large enough to be quick, small enough to hold no connection for long."""


class OcsfEvent(Shown):
    """One record: an OCSF 1.8.0 event. Which members it has besides these follows from its class."""

    model_config = ConfigDict(extra="allow")

    class_uid: int = Field(description="OCSF's number of the event's class", examples=[6003])
    type_uid: int
    activity_id: int
    category_uid: int
    severity_id: int
    time: int = Field(description="when it happened, in milliseconds since 1970")
    metadata: dict[str, Any] = Field(description="`sequence` is its number in the log, `event_code` its type")


_PAGE: Final[dict[int | str, Json]] = {200: {"model": Page[OcsfEvent]}}
_ONE: Final[dict[int | str, Json]] = {200: {"model": OcsfEvent}}
_EXPORT: Final[dict[int | str, Json]] = {
    200: success(
        "Jit-Count",
        "Jit-Last-Sequence",
        content={NDJSON: {"schema": {"type": "string", "description": "one OCSF 1.8.0 event per line"}}},
    )
}

AfterSequence: TypeAlias = Annotated[int, Query(ge=0, le=2**63 - 1, description="records after this one")]
Sequence: TypeAlias = Annotated[int, Path(ge=1, le=2**63 - 1)]
TicketId: TypeAlias = Annotated[str, Path(min_length=1, max_length=200)]
_Text: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200)]


Actor: TypeAlias = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=LONGEST,
        description="who did it: a user id, user name or e-mail, or the name of a service",
    ),
]


_ABOUT: Final = (
    "who did it, whose ticket it is about, or whom a mail was for: by user id, user name or e-mail"
)


def _filters(
    ticket_id: _Text = None,
    actor: Actor = None,
    account_id: AccountIdFilter = None,
    user_id: Annotated[UserIdFilter, Query(description=_ABOUT)] = None,
    type: _Text = None,  # noqa: A002 (the parameter's public name)
    since: Since = None,
    until: Until = None,
) -> Filters:
    if type is not None and type not in CODES:
        raise Invalid(
            f"there is no event type {type}",
            code="event_type_unknown",
            fields=[FieldError("type", "event_type_unknown", _choose(type))],
        )
    return Filters(ticket_id, actor, account_id, user_id, type, since, until)


def _choose(given: str) -> str:
    near = nearest(given, CODES)
    return f"did you mean {near}?" if near else "use an event code such as ticket.submitted"


Wanted: TypeAlias = Annotated[Filters, Depends(_filters)]


def router(context: Context) -> APIRouter:
    routes = make_router("audit", "/v1/audit")
    _add_records(routes, context)
    _add_trail(routes, context)
    _add_export(routes, context)
    return routes


def _add_records(routes: APIRouter, context: Context) -> None:
    @routes.get("/events", response_class=Response, responses=_PAGE)
    async def list_records(
        filters: Wanted,
        cursor: NumberCursor = None,
        limit: Limit = 100,
        caller: Caller = requires("audit.read"),
    ) -> Response:
        """Records in the order in which they were written, the oldest first."""
        filters = _by_ids(context, caller, filters)
        after = cursor or 0
        items, next_cursor = cut(await _read(context, filters, after, limit + 1), limit, _sequence)
        query = {"route": "events", "after_sequence": str(after), **filters.named()}
        await _note_reading(context, caller, query=query, returned=len(items))
        return _page(items, next_cursor)

    @routes.get("/events/{sequence}", response_class=Response, responses=_ONE)
    async def show_record(sequence: Sequence, caller: Caller = requires("audit.read")) -> Response:
        """One record, as it was written and published."""
        async with context.pool.acquire() as conn:
            item = await views.one(conn, sequence)
        query = {"route": "event", "sequence": str(sequence)}
        await _note_reading(context, caller, query=query, returned=int(item is not None))
        if item is None:
            raise NotFound(f"the log has no record {sequence} yet", code="record_unknown")
        return Response(item.ocsf, media_type="application/json")


def _add_trail(routes: APIRouter, context: Context) -> None:
    @routes.get("/tickets/{ticket_id}", response_class=Response, responses=_PAGE)
    async def list_records_of_ticket(
        ticket_id: TicketId,
        cursor: NumberCursor = None,
        limit: Limit = 200,
        caller: Caller = requires(PERSON),
    ) -> Response:
        """Everything recorded about one ticket: for auditors, and for its requester and beneficiaries.

        Who is only a party sees no addresses, token subjects and sessions, and no policy rows.
        """
        whole = await commands.admit(context, caller, ticket_id)
        after = cursor or 0
        found = await _read(context, Filters(ticket_id=ticket_id), after, limit + 1)
        items, next_cursor = cut(found, limit, _sequence)
        query = {"route": "ticket", "ticket_id": ticket_id, "after_sequence": str(after)}
        await _note_reading(context, caller, query=query, returned=len(items))
        if not items and not after:
            raise commands.no_trail()
        return _page(items if whole else _for_parties(items), next_cursor)


def _add_export(routes: APIRouter, context: Context) -> None:
    @routes.get("/export", response_class=StreamingResponse, responses=_EXPORT)
    async def export_records(
        filters: Wanted,
        after_sequence: AfterSequence = 0,
        caller: Caller = requires("audit.read"),
    ) -> StreamingResponse:
        """What matches, up to the log's present end, one record per line.

        Fewer lines than `Jit-Count` mean that the transfer broke: continue with `after_sequence` set to
        the sequence of the last line.
        """
        filters = _by_ids(context, caller, filters)
        async with context.pool.acquire() as conn:
            piece = Range(after_sequence, await views.head(conn))
            count = await views.count(conn, filters, piece)
        query = {"route": "export", "after_sequence": str(after_sequence), **filters.named()}
        await _note_reading(context, caller, query=query, returned=count)
        return StreamingResponse(
            _lines(context, filters, piece),
            media_type=NDJSON,
            headers={"Jit-Count": str(count), "Jit-Last-Sequence": str(piece.last)},
        )


async def _note_reading(context: Context, caller: Caller, *, query: dict[str, str], returned: int) -> None:
    """Committed before anything is shown. Raises NotReady where the reading cannot be recorded."""
    try:
        async with context.unit_of_work() as work:
            await commands.note_reading(context, work, caller, query=query, returned=returned)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError) as error:
        log.exception("reading not recorded")
        raise NotReady(
            "your reading cannot be recorded right now, so nothing is shown; try again in a few seconds",
            code="reading_unrecorded",
        ) from error


def _by_ids(context: Context, caller: Caller, filters: Filters) -> Filters:
    """The log is searched by ids, and records that it was."""
    return replace(
        filters,
        account_id=account_id_of(context, caller, filters.account_id),
        user_id=user_id_of(context, caller, filters.user_id),
        actor=actor_of(context, caller, filters.actor),
    )


async def _read(context: Context, filters: Filters, after: int, limit: int) -> list[Item]:
    async with context.pool.acquire() as conn:
        return await views.page(conn, filters, Range(after, await views.head(conn)), limit=limit)


def _for_parties(items: list[Item]) -> list[Item]:
    return [Item(item.sequence, for_parties(item.ocsf)) for item in items]


def _sequence(item: Item) -> int:
    return item.sequence


def _page(items: list[Item], next_cursor: str | None) -> Response:
    following = json.dumps(next_cursor).encode()
    body = b'{"items":[' + b",".join(item.ocsf for item in items) + b'],"next_cursor":' + following + b"}"
    return Response(body, media_type="application/json")


async def _lines(context: Context, filters: Filters, piece: Range) -> AsyncIterator[bytes]:
    """The piece in batches; a slow reader holds no connection while it reads."""
    after = piece.after
    while True:
        async with context.pool.acquire() as conn:
            items = await views.page(conn, filters, Range(after, piece.last), limit=_BATCH)
        if not items:
            return
        yield b"".join(item.ocsf + b"\n" for item in items)
        after = items[-1].sequence
