"""Routes: who the caller is, and what they may do. From the policy alone; for pages and pickers.

Each right is asked again when it is used: what stands here promises nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import Field

from shared.context import Context
from shared.contracts.documents import AccessScope, Account, Group, PermissionSet, SetGroup
from shared.foundation.shapes import Shown
from shared.http.access import PERSON, Caller, requires
from shared.http.pages import NameCursor, Page, cut
from shared.http.parameters import Limit
from shared.http.routers import make_router
from shared.policy import rights
from shared.policy.directory import name_of
from shared.policy.names import Kind, NameReader
from shared.policy.rights import Requestable, StageOf
from shared.text.durations import Duration

_KINDS: Final[Mapping[str, Kind]] = {"acct": Account, "ps": PermissionSet, "psg": SetGroup}
_MOST: Final = 200
"""Of each list; a person with more is counted, not listed."""


class GroupNamed(Shown):
    id: str
    name: str


class ScopeNamed(Shown):
    """An access scope that names the caller or one of their groups."""

    id: str
    name: str
    effect: Literal["allow", "deny"]
    verbs: list[str]
    accounts: str = Field(description="an account selector", examples=["tag:env=prod"])
    accounts_name: str | None = Field(description="of the account, where it is one and may be known")
    sets: str = Field(description="a set selector", examples=["psg:elevated"])
    sets_name: str | None = Field(description="of the set or set group")
    max_duration: Duration
    valid_until: datetime | None


class StageNamed(Shown):
    """A stage of an approval rule in which the caller may vote, except on their own requests."""

    rule: str
    rule_name: str
    stage: int = Field(description="counted from one")
    accounts: str
    accounts_name: str | None
    sets: str
    sets_name: str | None
    needed: int = Field(description="how many approvals the stage needs")


class MeShown(Shown):
    """Who one is for JIT, and what one may do. Lists end after 200; the totals count all."""

    id: str
    user_name: str
    display_name: str
    email: str | None
    roles: list[str]
    groups: list[GroupNamed]
    groups_total: int
    request: list[ScopeNamed] = Field(description="what may be asked for, and what is denied")
    request_total: int
    request_for_others: bool = Field(description="whether any scope allows to ask for somebody else")
    decide: list[StageNamed]
    decide_total: int
    administer: list[str] = Field(description="rights that hold everywhere", examples=[["config.read"]])
    quiet_until: datetime | None = Field(
        description="until then one neither votes nor administers: one's sign-in was replaced by another"
    )


class SetAllowed(Shown):
    id: str
    name: str
    longest: Duration = Field(description="the longest that scopes allow now")


class AccountAllowed(Shown):
    """A registered account, with the registered permission sets that one may request on it."""

    id: str
    name: str
    sets: list[SetAllowed]


def router(context: Context) -> APIRouter:
    routes = make_router("me", "/v1/me")

    @routes.get("")
    async def show_me(caller: Caller = requires(PERSON)) -> MeShown:
        """Who the caller is: roles, groups, and what they may ask for, decide and administer.

        With a sign-in that nobody has seen yet, the first call of all: it binds the sign-in to its user.
        """
        return _me(NameReader(context.policy.snapshot(), caller.user_id, context.clock.now()), caller)

    @routes.get("/targets")
    async def list_my_targets(
        cursor: NameCursor = None, limit: Limit = 20, caller: Caller = requires(PERSON)
    ) -> Page[AccountAllowed]:
        """Accounts on which the caller may ask for access, with the permission sets, by account id.

        Scopes alone decide here; whether a rule covers a target and who could approve it, a preview says.
        """
        snapshot, now = context.policy.snapshot(), context.clock.now()
        found = rights.requestable(snapshot, caller.user_id, now=now, after=cursor or "")
        items, next_cursor = cut(list(islice(found, limit + 1)), limit, lambda one: one.account.id)
        return Page[AccountAllowed](items=[_account(one) for one in items], next_cursor=next_cursor)

    return routes


def _me(names: NameReader, caller: Caller) -> MeShown:
    snapshot, user, now = names.snapshot, caller.user, names.now
    groups = [_group(names, group_id) for group_id in snapshot.groups_of(user.id)]
    scopes = rights.scopes_of(snapshot, user.id, now=now)
    stages = rights.stages_of(snapshot, user.id)
    return MeShown(
        id=user.id,
        user_name=user.user_name,
        display_name=user.display_name,
        email=user.email,
        roles=sorted(snapshot.roles_of(user.id)),
        groups=sorted(groups, key=lambda group: (group.name, group.id))[:_MOST],
        groups_total=len(groups),
        request=[_scope(names, scope) for scope in scopes[:_MOST]],
        request_total=len(scopes),
        request_for_others=any(one.effect == "allow" and "request_for" in one.verbs for one in scopes),
        decide=[_stage(names, stage) for stage in stages[:_MOST]],
        decide_total=len(stages),
        administer=rights.verbs_of(snapshot, user.id, now=now),
        quiet_until=snapshot.sign_ins.quiet_until(user.id, now),
    )


def _group(names: NameReader, group_id: str) -> GroupNamed:
    group = names.snapshot.get(Group, group_id)
    return GroupNamed(id=group_id, name=group.name if group else group_id)


def _scope(names: NameReader, scope: AccessScope) -> ScopeNamed:
    return ScopeNamed(
        id=scope.id,
        name=scope.name,
        effect=scope.effect,
        verbs=list(scope.verbs),
        accounts=scope.accounts,
        accounts_name=_name_of(names, scope.accounts),
        sets=scope.sets,
        sets_name=_name_of(names, scope.sets),
        max_duration=scope.max_duration,
        valid_until=scope.valid_until,
    )


def _stage(names: NameReader, found: StageOf) -> StageNamed:
    rule = found.rule
    return StageNamed(
        rule=rule.id,
        rule_name=rule.name,
        stage=found.index,
        accounts=rule.accounts,
        accounts_name=_name_of(names, rule.accounts),
        sets=rule.sets,
        sets_name=_name_of(names, rule.sets),
        needed=found.stage.needed,
    )


def _name_of(names: NameReader, selector: str) -> str | None:
    """The name of the one thing a selector names, where the caller could list it themselves."""
    prefix, _, document_id = selector.partition(":")
    kind = _KINDS.get(prefix)
    if kind is None or not names.sees(kind, document_id):
        return None
    found = names.snapshot.get(kind, document_id)
    return name_of(found) if found else None


def _account(one: Requestable) -> AccountAllowed:
    sets = [SetAllowed(id=found.id, name=found.name, longest=longest) for found, longest in one.sets]
    return AccountAllowed(id=one.account.id, name=one.account.name, sets=sets)
