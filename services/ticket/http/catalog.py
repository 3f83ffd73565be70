"""Routes for the catalogue: what of the inventory may be asked for, and by whom."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.ticket.commands import catalog as commands
from services.ticket.domain import catalog as domain
from services.ticket.settings import TicketSettings
from shared.context import Context
from shared.contracts.documents import (
    AccessScope,
    Account,
    Document,
    PermissionSet,
    RegisteredAccount,
    RegisteredSet,
    SetGroup,
)
from shared.foundation.errors import Denied, Forbidden, Invalid, NotFound
from shared.http.access import PERSON, Caller, requires
from shared.http.conditions import precondition
from shared.http.web import etag, respond
from shared.policy.row import SLUG
from shared.policy.validation import validate_scope
from shared.text.moments import Moment
from shared.text.texts import Line

AccountId = Annotated[str, Path(pattern=r"^[0-9]{12}$")]
SetId = Annotated[str, Path(pattern=r"^ps-[a-z0-9]{1,32}$")]
Slug = Annotated[str, Path(pattern=SLUG, description="chosen by you; never used again after removal")]
OldSlug = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""What may be shown and removed: also ids that could be chosen once and that no policy row can hold."""
IfMatch = Annotated[str | None, Header()]
Cursor = Annotated[str | None, Query(max_length=128, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000)]

ShortText = Annotated[Line, Field(max_length=100)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AccountBody(_Body):
    labels: dict[ShortText, Line] = Field(default={}, max_length=20)


class SetBody(_Body):
    long_session_acknowledged: bool = False


class SetGroupBody(_Body):
    name: ShortText
    sets: list[ShortText] = Field(min_length=1, max_length=100)


class ScopeBody(_Body):
    """Who may request which sets on which accounts, for how long."""

    name: ShortText
    subjects: list[ShortText] = Field(min_length=1, max_length=100, description="user:<id> or group:<id>")
    verbs: list[Literal["request", "request_for"]] = Field(default=["request"], min_length=1)
    accounts: Annotated[str, Field(max_length=400, description="acct:<id>, ou:<id>, tag:<key>=<value> or *")]
    sets: Annotated[str, Field(max_length=100, description="ps:<id>, psg:<group> or *")]
    max_duration: timedelta = timedelta(0)
    effect: Literal["allow", "deny"] = "allow"
    valid_from: Moment | None = None
    valid_until: Moment | None = None


def router(context: Context, settings: TicketSettings) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["catalogue"])
    _add_accounts(routes, context, settings)
    _add_sets(routes, context)
    _add_groups(routes, context)
    _add_scopes(routes, context)
    return routes


def _add_accounts(routes: APIRouter, context: Context, settings: TicketSettings) -> None:
    @routes.get("/accounts")
    async def list_accounts(
        registered: bool = True,
        cursor: Cursor = None,
        limit: Limit = 200,
        caller: Caller = requires(PERSON),
    ) -> dict[str, Any]:
        """Registered accounts by id; with `registered=false` all others too (config.read)."""
        if not registered:
            _check_may_see_all(context, caller)
        wanted = [
            account
            for account in context.world.all(Account)
            if not registered or context.world.registered_account(account.id) is not None
        ]
        page = _page(wanted, cursor, limit)
        for shown in page["items"]:
            shown["registered"] = _labels(context, shown["id"])
        return page

    @routes.get("/accounts/{account_id}", dependencies=[requires(PERSON)])
    async def show_account(account_id: AccountId, response: Response) -> dict[str, Any]:
        return _shown(context.world.get(RegisteredAccount, account_id), response)

    @routes.put("/accounts/{account_id}")
    async def register_account(
        account_id: AccountId,
        body: AccountBody,
        if_match: IfMatch = None,
        caller: Caller = requires("config.write"),
    ) -> Response:
        document = domain.register_account(
            account_id,
            body.labels,
            context.world,
            protected=settings.protected_accounts,
            allowed=settings.allow_protected_accounts,
        )
        return respond(await commands.put(context, caller, document, precondition(if_match), name=account_id))

    @routes.delete("/accounts/{account_id}", status_code=204)
    async def unregister_account(
        account_id: AccountId, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        return respond(
            await commands.remove(context, caller, RegisteredAccount, account_id, precondition(if_match))
        )


def _add_sets(routes: APIRouter, context: Context) -> None:
    @routes.get("/sets")
    async def list_sets(
        registered: bool = True,
        cursor: Cursor = None,
        limit: Limit = 200,
        caller: Caller = requires(PERSON),
    ) -> dict[str, Any]:
        """Registered permission sets by id; with `registered=false` the others too (config.read)."""
        if not registered:
            _check_may_see_all(context, caller)
        wanted = [
            one
            for one in context.world.all(PermissionSet)
            if not registered or context.world.registered_set(one.id) is not None
        ]
        page = _page(wanted, cursor, limit)
        for shown in page["items"]:
            shown["registered"] = context.world.registered_set(shown["id"]) is not None
        return page

    @routes.get("/sets/{set_id}", dependencies=[requires(PERSON)])
    async def show_set(set_id: SetId, response: Response) -> dict[str, Any]:
        return _shown(context.world.get(RegisteredSet, set_id), response)

    @routes.put("/sets/{set_id}")
    async def register_set(
        set_id: SetId, body: SetBody, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        document = domain.register_set(
            set_id, context.world, long_session_acknowledged=body.long_session_acknowledged
        )
        return respond(await commands.put(context, caller, document, precondition(if_match), name=set_id))

    @routes.delete("/sets/{set_id}", status_code=204)
    async def unregister_set(
        set_id: SetId, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        return respond(await commands.remove(context, caller, RegisteredSet, set_id, precondition(if_match)))


def _add_groups(routes: APIRouter, context: Context) -> None:
    @routes.get("/set-groups", dependencies=[requires(PERSON)])
    async def list_groups(cursor: Cursor = None, limit: Limit = 200) -> dict[str, Any]:
        """Groups of permission sets by id."""
        return _page(context.world.all(SetGroup), cursor, limit)

    @routes.get("/set-groups/{group_id}", dependencies=[requires(PERSON)])
    async def show_group(group_id: OldSlug, response: Response) -> dict[str, Any]:
        return _shown(context.world.get(SetGroup, group_id), response)

    @routes.put("/set-groups/{group_id}")
    async def define_group(
        group_id: Slug,
        body: SetGroupBody,
        if_match: IfMatch = None,
        caller: Caller = requires("config.write"),
    ) -> Response:
        document = domain.define_group(group_id, body.name, body.sets, context.world)
        return respond(await commands.put(context, caller, document, precondition(if_match), name=body.name))

    @routes.delete("/set-groups/{group_id}", status_code=204)
    async def remove_group(
        group_id: OldSlug, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        return respond(await commands.remove(context, caller, SetGroup, group_id, precondition(if_match)))


def _add_scopes(routes: APIRouter, context: Context) -> None:
    @routes.get("/scopes", dependencies=[requires("config.read")])
    async def list_scopes(cursor: Cursor = None, limit: Limit = 200) -> dict[str, Any]:
        """Access scopes by id."""
        return _page(context.world.all(AccessScope), cursor, limit)

    @routes.get("/scopes/{scope_id}", dependencies=[requires("config.read")])
    async def show_scope(scope_id: OldSlug, response: Response) -> dict[str, Any]:
        return _shown(context.world.get(AccessScope, scope_id), response)

    @routes.put("/scopes/{scope_id}")
    async def define_scope(
        scope_id: Slug, body: ScopeBody, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        document = AccessScope(id=scope_id, **body.model_dump())
        if problems := validate_scope(document, context.world):
            raise Invalid(
                f"{len(problems)} problem(s) with this scope", code="scope_invalid", fields=problems
            )
        return respond(await commands.put(context, caller, document, precondition(if_match), name=body.name))

    @routes.delete("/scopes/{scope_id}", status_code=204)
    async def remove_scope(
        scope_id: OldSlug, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        return respond(await commands.remove(context, caller, AccessScope, scope_id, precondition(if_match)))


def _check_may_see_all(context: Context, caller: Caller) -> None:
    """What is not registered tells of the whole organisation: it is for those who configure JIT."""
    if not context.world.may(caller.user_id, "config.read", now=context.clock.now()).allowed:
        raise Forbidden(
            "only administrators and auditors list what is not registered; leave registered=false out",
            code="not_permitted",
            denied=Denied("config.read", caller.user_id),
        )


def _labels(context: Context, account_id: str) -> dict[str, str] | None:
    """The labels of a registered account; None for one that is not registered."""
    registered = context.world.registered_account(account_id)
    return None if registered is None else registered.labels


def _page(found: Sequence[Document], cursor: str | None, limit: int) -> dict[str, Any]:
    """Documents by id, those after the cursor, and the next page's cursor (None at the end)."""
    left = sorted(
        (one for one in found if cursor is None or one.id > cursor), key=lambda document: document.id
    )
    page = left[:limit]
    return {
        "items": [one.model_dump(mode="json") for one in page],
        "next": page[-1].id if len(left) > limit else None,
    }


def _shown(document: Document | None, response: Response) -> dict[str, Any]:
    if document is None:
        raise NotFound("it is not registered", code="document_unknown")
    response.headers["ETag"] = etag(document.revision)
    return document.model_dump(mode="json")
