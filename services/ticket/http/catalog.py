"""Routes for the catalogue: what of the inventory may be asked for, and by whom."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.ticket.commands import catalog as commands
from services.ticket.domain import catalog as domain
from services.ticket.settings import TicketSettings
from shared.access import PERSON, Caller, requires
from shared.conditions import precondition
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
from shared.errors import Invalid, NotFound
from shared.moments import Moment
from shared.policy.row import SLUG
from shared.policy.validation import validate_scope
from shared.texts import Line
from shared.web import etag, respond

AccountId = Annotated[str, Path(pattern=r"^[0-9]{12}$")]
SetId = Annotated[str, Path(pattern=r"^ps-[a-z0-9]{1,32}$")]
Slug = Annotated[str, Path(pattern=SLUG, description="chosen by you; never used again after removal")]
OldSlug = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""What may be shown and removed: also ids that could be chosen once and that no policy row can hold."""
IfMatch = Annotated[str | None, Header()]

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
    @routes.get("/accounts", dependencies=[requires(PERSON)])
    async def list_accounts(registered: bool = True) -> dict[str, Any]:
        """Accounts of the organisation; those that are registered unless asked otherwise."""
        shown = [
            {**account.model_dump(mode="json"), "registered": _labels(context, account)}
            for account in context.world.all(Account)
            if not registered or context.world.registered_account(account.id) is not None
        ]
        return {"items": sorted(shown, key=lambda one: str(one["id"]))}

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
    @routes.get("/sets", dependencies=[requires(PERSON)])
    async def list_sets(registered: bool = True) -> dict[str, Any]:
        """Permission sets of Identity Center; those that are registered unless asked otherwise."""
        shown = [
            {
                **one.model_dump(mode="json"),
                "registered": context.world.registered_set(one.id) is not None,
            }
            for one in context.world.all(PermissionSet)
            if not registered or context.world.registered_set(one.id) is not None
        ]
        return {"items": sorted(shown, key=lambda one: str(one["name"]))}

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
    async def list_groups() -> dict[str, Any]:
        return {"items": [one.model_dump(mode="json") for one in context.world.all(SetGroup)]}

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
    async def list_scopes() -> dict[str, Any]:
        return {"items": [one.model_dump(mode="json") for one in context.world.all(AccessScope)]}

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


def _labels(context: Context, account: Account) -> dict[str, str] | None:
    """The labels of a registered account; None for one that is not registered."""
    registered = context.world.registered_account(account.id)
    return None if registered is None else registered.labels


def _shown(document: Document | None, response: Response) -> dict[str, Any]:
    if document is None:
        raise NotFound("it is not registered", code="document_unknown")
    response.headers["ETag"] = etag(document.revision)
    return document.model_dump(mode="json")
