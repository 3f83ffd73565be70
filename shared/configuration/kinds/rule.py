"""Approval rules: which targets need whose votes, in which stages, or none up to a length."""

from datetime import timedelta
from itertools import chain

from pydantic import Field

from shared.configuration.kind import Situation, made_by_people
from shared.configuration.kinds.scope import AccountSelector, SetSelector, Subject
from shared.configuration.order import (
    NARROWS,
    NEITHER,
    WIDENS,
    Direction,
    all_of,
    fewer,
    larger,
    same,
    smaller,
)
from shared.contracts.documents import ApprovalRule, RuleStage
from shared.foundation.errors import FieldError
from shared.foundation.shapes import Body, Count, Flag, Shown
from shared.policy.validation import validate_rule
from shared.text.durations import Duration
from shared.text.texts import Line


class StageBody(Body):
    """One stage: who may vote, how many approvals it needs, how many rejections end it."""

    approvers: list[Subject] = Field(
        max_length=100, description="user:<id> or group:<id>", examples=[["group:group-owners-prod"]]
    )
    needed: Count = Field(default=1, ge=1, le=100)
    denials: Count = Field(default=1, ge=1, le=100)


class RuleBody(Body):
    """Which targets a rule is for, and what they need: stages of votes, or an auto-approval."""

    name: Line
    accounts: AccountSelector
    sets: SetSelector
    stages: list[StageBody] = Field(default=[], max_length=20)
    always: Flag = Field(default=False, description="its stages are added whatever other rule applies")
    auto_approve_up_to: Duration | None = Field(
        default=None, description="approves without votes up to this length"
    )
    reference_required: Flag = Field(
        default=False, description="a request under it has to name a change, an incident or the like"
    )


class RuleStageShown(Shown):
    """One stage: who may vote, how many approvals it needs, how many rejections end it."""

    approvers: list[str]
    needed: int
    denials: int


class RuleShown(Shown):
    """Which targets a rule is for, and what they need: stages of votes, or an auto-approval."""

    id: str
    revision: int
    name: str
    accounts: str
    sets: str
    stages: list[RuleStageShown]
    always: bool
    auto_approve_up_to: Duration | None
    reference_required: bool


def _problems(document: ApprovalRule, situation: Situation) -> list[FieldError]:
    return validate_rule(document, situation.snapshot)


def _order(before: ApprovalRule | None, after: ApprovalRule | None) -> Direction:
    """A rule that comes or goes, or moves elsewhere, puts others in force or out of it: not narrowing."""
    if before is None or after is None:
        return NEITHER if before is after else WIDENS
    return all_of(
        same((before.accounts, before.sets), (after.accounts, after.sets)),
        larger(before.always, after.always),
        larger(before.reference_required, after.reference_required),
        _auto(before.auto_approve_up_to, after.auto_approve_up_to),
        *(_stage(old, new) for old, new in zip(before.stages, after.stages, strict=False)),
        _more_stages(before, after),
    )


def _auto(before: timedelta | None, after: timedelta | None) -> Direction:
    if before is None or after is None:
        return same(before, after)
    return smaller(before, after)


def _stage(before: RuleStage, after: RuleStage) -> Direction:
    """Fewer voters, more votes and fewer denials that end it: each makes an approval harder to get."""
    return all_of(
        fewer(before.approvers, after.approvers),
        larger(before.needed, after.needed),
        smaller(before.denials, after.denials),
    )


def _more_stages(before: ApprovalRule, after: ApprovalRule) -> Direction:
    """A stage more is harder, if its voters get no right to stop and to read that they did not have."""
    added = after.stages[len(before.stages) :]
    if not added:
        return NEITHER if len(after.stages) == len(before.stages) else WIDENS
    had = set(chain.from_iterable(stage.approvers for stage in before.stages))
    return NARROWS if had.issuperset(chain.from_iterable(stage.approvers for stage in added)) else WIDENS


_OWNERS, _SECURITY = (RuleStage(approvers=(f"group:group-{name}",)) for name in ("owners-prod", "secops"))
_EXAMPLE = ApprovalRule(
    id="prod", revision=2, name="production", accounts="ou:ou-prod", sets="*", stages=(_OWNERS, _SECURITY)
)
RULE = made_by_people(
    ApprovalRule,
    path="rules",
    phrase="an approval rule",
    body=RuleBody,
    shown=RuleShown,
    problems=_problems,
    order=_order,
    examples=(_EXAMPLE, _EXAMPLE.model_copy(update={"revision": 3, "stages": (_OWNERS,)})),
)
