"""Routes for approval rules: read them, define them, remove them."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from services.approval import views
from services.approval.commands import rules
from shared.context import Context
from shared.contracts.documents import ApprovalRule
from shared.documents import document_store
from shared.foundation.errors import NotFound
from shared.http.access import Caller, requires
from shared.http.conditions import precondition
from shared.http.web import etag, respond
from shared.policy.row import SLUG
from shared.text.texts import Line

RuleId = Annotated[str, Path(pattern=SLUG, description="chosen by you; never used again after removal")]
IfMatch = Annotated[str | None, Header(description='the ETag that was read, such as "3"; or *')]
IfNoneMatch = Annotated[str | None, Header(description="* to create and never replace")]
Selector = Annotated[str, Field(min_length=1, max_length=400)]


class StageBody(BaseModel):
    """One stage: who may vote, how many approvals it needs, how many rejections end it."""

    model_config = ConfigDict(extra="forbid")

    approvers: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        max_length=100, description="user:<id> or group:<id>"
    )
    needed: int = Field(default=1, ge=1, le=100)
    denials: int = Field(default=1, ge=1, le=100)


class RuleBody(BaseModel):
    """Which targets a rule is for, and what they need: stages of votes, or an auto-approval."""

    model_config = ConfigDict(extra="forbid")

    name: Line
    accounts: Selector = Field(description="acct:<12 digits>, ou:<id>, tag:<key>=<value> or *")
    sets: Selector = Field(description="ps:<id>, psg:<set group> or *")
    stages: list[StageBody] = Field(default=[], max_length=20)
    always: bool = Field(default=False, description="its stages are added whatever other rule applies")
    auto_approve_up_to: timedelta | None = Field(
        default=None, description="approves without votes up to this length; ISO 8601, such as PT4H"
    )

    def rule(self, rule_id: str) -> ApprovalRule:
        return ApprovalRule(id=rule_id, **self.model_dump())


class RulePage(BaseModel):
    items: list[ApprovalRule]
    next: str | None


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/v1/rules", tags=["rules"])

    @routes.get("", response_model=RulePage, dependencies=[requires("config.read")])
    async def list_rules(
        cursor: Annotated[str | None, Query(pattern=SLUG)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> dict[str, Any]:
        """All rules by id."""
        async with context.pool.acquire() as conn:
            found = await views.rules(conn, after=cursor, limit=limit + 1)
        return {"items": found[:limit], "next": found[limit - 1].id if len(found) > limit else None}

    @routes.get("/{rule_id}", dependencies=[requires("config.read")])
    async def show_rule(rule_id: RuleId, response: Response) -> ApprovalRule:
        async with context.pool.acquire() as conn:
            rule = await document_store.get(conn, ApprovalRule, rule_id)
        if rule is None:
            raise NotFound(f"there is no rule {rule_id}", code="document_unknown")
        response.headers["ETag"] = etag(rule.revision)
        return rule

    @routes.put("/{rule_id}", response_model=ApprovalRule, responses={201: {"model": ApprovalRule}})
    async def define_rule(
        rule_id: RuleId,
        body: RuleBody,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
        caller: Caller = requires("config.write"),
    ) -> Response:
        """Create a rule, or replace it as it was read. All problems are answered at once."""
        condition = precondition(if_match, if_none_match)
        return respond(await rules.put_rule(context, caller, body.rule(rule_id), condition))

    @routes.delete("/{rule_id}", status_code=204)
    async def remove_rule(
        rule_id: RuleId, if_match: IfMatch = None, caller: Caller = requires("config.write")
    ) -> Response:
        """Remove a rule. Open reviews that relied on it are opened again under what is left."""
        condition = precondition(if_match)
        return respond(await rules.remove_rule(context, caller, rule_id, condition))

    return routes
