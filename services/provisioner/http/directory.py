"""Routes: people, groups, OUs and tags by the beginning of their names, for whoever writes ids of them.

Rules and scopes name groups, OUs and tags, so these are for those who configure; people are also for
those who may request for others.
"""

from fastapi import APIRouter
from pydantic import Field

from services.provisioner.domain import directory
from shared.context import Context
from shared.foundation.errors import Denied, Forbidden
from shared.foundation.shapes import Shown
from shared.http.access import PERSON, Caller, requires
from shared.http.pages import NameCursor, Page, cut
from shared.http.parameters import Limit, NameBeginning
from shared.http.routers import make_router
from shared.policy.rights import may_find_users


class UserFound(Shown):
    """A person of the Identity Store."""

    id: str
    user_name: str
    display_name: str
    email: str | None
    enabled: bool = Field(description="whoever is disabled can have no access")


class GroupFound(Shown):
    """A group of the Identity Store; `group:<id>` in scopes and rules."""

    id: str
    name: str
    members: int


class OuFound(Shown):
    """An organizational unit; `ou:<id>` in scopes and rules."""

    id: str
    name: str
    parent: str | None = Field(description="id of the unit it is in")
    path: list[str] = Field(description="names from the root down to the unit itself")


class TagFound(Shown):
    """A tag that accounts have."""

    key: str
    value: str
    selector: str = Field(description="as scopes and rules name it", examples=["tag:env=prod"])
    accounts: int = Field(description="how many accounts have it")


def router(context: Context) -> APIRouter:
    routes = make_router("directory", "/v1")
    _add_people(routes, context)
    _add_places(routes, context)
    return routes


def _add_people(routes: APIRouter, context: Context) -> None:
    @routes.get("/users")
    async def list_users(
        name: NameBeginning = "",
        cursor: NameCursor = None,
        limit: Limit = 50,
        caller: Caller = requires(PERSON),
    ) -> Page[UserFound]:
        """People whose user name, e-mail or display name begins so, by user name."""
        _require_finder(context, caller)
        found = directory.find_users(context.policy.snapshot(), name, after=cursor, limit=limit + 1)
        users, next_cursor = cut(found, limit, lambda one: one.id)
        items = [UserFound(**one.model_dump(include=set(UserFound.model_fields))) for one in users]
        return Page[UserFound](items=items, next_cursor=next_cursor)

    @routes.get("/groups", dependencies=[requires("config.read")])
    async def list_groups(
        name: NameBeginning = "", cursor: NameCursor = None, limit: Limit = 50
    ) -> Page[GroupFound]:
        """Groups whose name begins so, by name."""
        snapshot = context.policy.snapshot()
        found = directory.find_groups(snapshot, name, after=cursor, limit=limit + 1)
        groups, next_cursor = cut(found, limit, lambda one: one.id)
        items = [
            GroupFound(id=one.id, name=one.name, members=len(snapshot.members_of(one.id))) for one in groups
        ]
        return Page[GroupFound](items=items, next_cursor=next_cursor)


def _add_places(routes: APIRouter, context: Context) -> None:
    @routes.get("/ous", dependencies=[requires("config.read")])
    async def list_ous(
        name: NameBeginning = "", cursor: NameCursor = None, limit: Limit = 50
    ) -> Page[OuFound]:
        """Organizational units whose name begins so, by name."""
        snapshot = context.policy.snapshot()
        found = directory.find_ous(snapshot, name, after=cursor, limit=limit + 1)
        units, next_cursor = cut(found, limit, lambda one: one.id)
        items = [
            OuFound(id=one.id, name=one.name, parent=one.parent, path=directory.path_of(snapshot, one))
            for one in units
        ]
        return Page[OuFound](items=items, next_cursor=next_cursor)

    @routes.get("/tags", dependencies=[requires("config.read")])
    async def list_tags(
        name: NameBeginning = "", cursor: NameCursor = None, limit: Limit = 50
    ) -> Page[TagFound]:
        """Tags of accounts whose `key=value` begins so."""
        found = directory.find_tags(context.policy.snapshot(), name, after=cursor, limit=limit + 1)
        tags, next_cursor = cut(found, limit, lambda one: one.selector)
        items = [
            TagFound(key=one.key, value=one.value, selector=one.selector, accounts=one.accounts)
            for one in tags
        ]
        return Page[TagFound](items=items, next_cursor=next_cursor)


def _require_finder(context: Context, caller: Caller) -> None:
    if not may_find_users(context.policy.snapshot(), caller.user_id, now=context.clock.now()):
        raise Forbidden(
            "only who may request for others, or configures JIT, looks for people",
            code="not_permitted",
            denied=Denied("request_for", caller.user_id),
        )
