"""The routes of one kind of configuration document: list, show, put, remove and plan, alike for all kinds.

What is shown comes from the owner's database and so is never behind its own writes; what AWS says of it
comes from the snapshot.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from shared.configuration import changes
from shared.configuration.kind import Kind
from shared.configuration.order import Direction
from shared.configuration.reading import find, registered_page, whole_page
from shared.context import Context
from shared.contracts.documents import COUNTERS, Document
from shared.foundation.shapes import Shown
from shared.http.access import PERSON, Caller, format_revision, requires
from shared.http.conditions import IfMatchToReplace, IfNoneMatch, precondition
from shared.http.idempotency import StoredAnswer
from shared.http.openapi import WITHOUT_KEY, success
from shared.http.pages import NameCursor, Page
from shared.http.parameters import Limit
from shared.http.problems import FieldProblem
from shared.http.routers import make_router
from shared.http.web import etag
from shared.http.writes import write

Registered: TypeAlias = Annotated[
    bool, Query(description="false: also what is not registered, for those who may read the configuration")
]


class ConfigurationPlanShown(Shown):
    """What a change would do. Nothing was written."""

    document: str = Field(description="<kind>/<id>", examples=["scope/prod-admin"])
    action: str = Field(description="create, replace, remove, or nothing where it says the same already")
    revision: int | None = Field(description="of the document that is there; send it as If-Match")
    changes: list[str] = Field(description="a line per difference", examples=[["max_duration: PT1H -> PT4H"]])
    problems: list[FieldProblem] = Field(description="why it would be refused; empty where it would not")
    order: Direction = Field(description="whether it narrows whatever all other documents are")
    effect: Direction = Field(description="the same among the documents of now, where that is cheap to know")


def router(context: Context, kind: Kind[Any]) -> APIRouter:
    """All routes of one kind, for the service that owns its documents."""
    routes = make_router(COUNTERS[kind.owner], f"/v1/{kind.path}")
    if kind.inventory is None:
        _add_list(routes, context, kind)
    else:
        _add_inventory_list(routes, context, kind)
    _add_show(routes, context, kind)
    _add_put(routes, context, kind)
    _add_remove(routes, context, kind)
    _add_plan(routes, context, kind)
    return routes


def _reading(kind: Kind[Any]) -> Any:
    return requires(PERSON if kind.everybody_reads else "config.read")


def _add_list(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    @routes.get(
        "",
        response_model=Page[kind.shown],  # type: ignore[name-defined] # a class that is known at run time
        dependencies=[_reading(kind)],
        operation_id=f"list_{kind.noun}s",
    )
    async def list_documents(cursor: NameCursor = None, limit: Limit = 200) -> Page[Any]:
        """All by id."""
        return await registered_page(context, kind, cursor, limit)


def _add_inventory_list(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    reading = _reading(kind)

    @routes.get(
        "",
        response_model=Page[kind.shown],  # type: ignore[name-defined] # a class that is known at run time
        operation_id=f"list_{kind.noun}s",
    )
    async def list_documents(
        registered: Registered = True,
        cursor: NameCursor = None,
        limit: Limit = 200,
        caller: Caller = reading,
    ) -> Page[Any]:
        """Those that are registered, by id; with `registered=false` all others of AWS too."""
        read = registered_page if registered else partial(whole_page, caller=caller)
        return await read(context, kind, cursor, limit)


def _add_show(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    reading = _reading(kind)

    async def show_document(response: Response, document_id: str, caller: Caller = reading) -> Any:
        found = await find(context, kind, document_id, caller)
        if found.revision is not None:
            response.headers["ETag"] = etag(found.revision)
        return found

    _add(
        routes.get(
            _one(kind),
            response_model=kind.shown,
            responses={200: success("ETag")},
            operation_id=f"show_{kind.noun}",
        ),
        show_document,
        document_id=_id(kind, kind.known_id_pattern),
    )


def _add_put(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    async def put_document(
        document_id: str,
        body: BaseModel,
        if_match: IfMatchToReplace = None,
        if_none_match: IfNoneMatch = None,
        caller: Caller = requires("config.write"),
    ) -> Response:
        """Create it, or replace it as it was read. All problems are answered at once."""
        condition = precondition(if_match, if_none_match)
        return await write(
            context,
            caller,
            lambda work: changes.put(context, work, caller, kind, document_id, body, condition),
            partial(_show_written, context, kind),
        )

    _add(
        routes.put(
            _one(kind),
            response_model=kind.shown,
            responses={
                200: success("ETag", "Jit-Revision"),
                201: success("ETag", "Jit-Revision", model=kind.shown, description="It was made"),
            },
            operation_id=f"put_{kind.noun}",
        ),
        put_document,
        document_id=_id(kind, kind.id_pattern),
        body=kind.body,
    )


def _add_remove(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    async def remove_document(
        document_id: str, if_match: IfMatchToReplace = None, caller: Caller = requires("config.write")
    ) -> Response:
        """Take it out. An id that people chose is never used again."""
        condition = precondition(if_match)
        return await write(
            context,
            caller,
            lambda work: changes.remove(context, work, caller, kind, document_id, condition),
            lambda gone: StoredAnswer(204, None, _revision(context, gone)),
        )

    _add(
        routes.delete(
            _one(kind),
            status_code=204,
            responses={204: success("Jit-Revision")},
            operation_id=f"remove_{kind.noun}",
        ),
        remove_document,
        document_id=_id(kind, kind.known_id_pattern),
    )


def _add_plan(routes: APIRouter, context: Context, kind: Kind[Any]) -> None:
    async def plan_document(document_id: str, body: BaseModel | None = None) -> ConfigurationPlanShown:
        """What a PUT of this body would do, or without a body what a DELETE would. Writes nothing."""
        found = await changes.plan(context, kind, document_id, body)
        return _show_plan(kind, document_id, found)

    _add(
        routes.post(
            f"{_one(kind)}/plan",
            response_model=ConfigurationPlanShown,
            dependencies=[requires("config.write")],
            openapi_extra=WITHOUT_KEY,
            operation_id=f"plan_{kind.noun}",
        ),
        plan_document,
        document_id=_id(kind, kind.known_id_pattern),
        body=kind.body | None,
    )


def _one(kind: Kind[Any]) -> str:
    return f"/{{{kind.id_name}}}"


def _id(kind: Kind[Any], pattern: str) -> Any:
    chosen = "an id that AWS gave" if kind.inventory else "chosen by you; never used again after removal"
    return Annotated[str, Path(alias=kind.id_name, pattern=pattern, description=chosen)]


def _add(route: Callable[[Any], Any], endpoint: Callable[..., Any], **types: Any) -> None:
    """Add an endpoint whose parameters have types that are known only when a kind is."""
    endpoint.__annotations__ |= types
    route(endpoint)


def _show_written(context: Context, kind: Kind[Any], written: changes.Written) -> StoredAnswer:
    document = written.document
    shown = kind.show(document.id, document, context.policy.snapshot())
    body = None if shown is None else shown.model_dump(mode="json")
    headers = {"ETag": etag(document.revision), **_revision(context, document)}
    return StoredAnswer(201 if written.created else 200, body, headers)


def _revision(context: Context, document: Document) -> dict[str, str]:
    return format_revision(**{COUNTERS[context.service]: document.revision})


def _show_plan(kind: Kind[Any], document_id: str, found: changes.DocumentPlan) -> ConfigurationPlanShown:
    return ConfigurationPlanShown(
        document=f"{kind.document.KIND}/{document_id}",
        action=_action(found),
        revision=found.before.revision if found.before else None,
        changes=list(found.lines),
        problems=[FieldProblem(**one.as_dict()) for one in found.problems],
        order=found.order,
        effect=found.effect,
    )


def _action(found: changes.DocumentPlan) -> str:
    if found.after is None:
        return "remove"
    if found.before is None:
        return "create"
    return "replace" if found.lines else "nothing"
