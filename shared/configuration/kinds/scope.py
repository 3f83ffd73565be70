"""Access scopes: who may request which sets on which accounts, for how long; or never."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.configuration.kind import Situation, made_by_people
from shared.configuration.order import (
    NEITHER,
    Direction,
    all_of,
    fewer,
    larger,
    presence,
    reverse,
    smaller,
    within,
)
from shared.contracts.documents import AccessScope
from shared.foundation.errors import FieldError
from shared.foundation.shapes import Body, Shown
from shared.policy.row import ALWAYS, FOREVER, PERSONAL, PLACE, SET, TAG
from shared.policy.validation import validate_scope
from shared.text.durations import Duration
from shared.text.moments import Moment
from shared.text.texts import Line

ACCOUNTS = "acct:<12 digits>, ou:<id>, tag:<key>=<value> (an = inside either as %3D) or *"
SETS = "ps:<id>, psg:<set group> or *"


def _shape(*patterns: re.Pattern[str]) -> dict[str, Any]:
    """For readers of the schema; shared/policy/shape.py refuses, with sentences of its own."""
    return {"pattern": f"^(?:{'|'.join(one.pattern for one in patterns)})$"}


Subject = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=_shape(PERSONAL))]
AccountSelector = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4000,
        description=ACCOUNTS,
        examples=["tag:env=prod"],
        json_schema_extra=_shape(PLACE, TAG),
    ),
]
SetSelector = Annotated[
    str, Field(min_length=1, max_length=200, description=SETS, json_schema_extra=_shape(SET))
]


class ScopeBody(Body):
    """Who may request which sets on which accounts, for how long."""

    name: Annotated[Line, Field(max_length=100)]
    subjects: list[Subject] = Field(min_length=1, max_length=100, description="user:<id> or group:<id>")
    verbs: list[Literal["request", "request_for"]] = Field(
        default=["request"], min_length=1, description="request for oneself, request_for others"
    )
    accounts: AccountSelector
    sets: SetSelector
    max_duration: Duration = Field(default=timedelta(0), description="the longest that may be asked for")
    effect: Literal["allow", "deny"] = Field(default="allow", description="a deny wins over every allow")
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class ScopeShown(Shown):
    """Who may request which sets on which accounts, for how long."""

    id: str
    revision: int
    name: str
    subjects: list[str]
    verbs: list[str]
    accounts: str
    sets: str
    max_duration: Duration
    effect: str
    valid_from: datetime | None
    valid_until: datetime | None


def _problems(document: AccessScope, situation: Situation) -> list[FieldError]:
    return validate_scope(document, situation.snapshot)


def _order(before: AccessScope | None, after: AccessScope | None) -> Direction:
    """What it allows and what it denies, each for itself: less allowed narrows, less denied widens."""
    allowed = _reach(_if(before, "allow"), _if(after, "allow"))
    return all_of(allowed, reverse(_reach(_if(before, "deny"), _if(after, "deny"))))


def _if(scope: AccessScope | None, effect: str) -> AccessScope | None:
    return scope if scope is not None and scope.effect == effect else None


def _reach(before: AccessScope | None, after: AccessScope | None) -> Direction:
    there = presence(before, after)
    if before is None or after is None:
        return there or NEITHER
    length = smaller(before.max_duration, after.max_duration) if after.effect == "allow" else NEITHER
    return all_of(
        fewer(before.subjects, after.subjects),
        fewer(before.verbs, after.verbs),
        within(before.accounts, after.accounts),
        within(before.sets, after.sets),
        length,
        larger(before.valid_from or ALWAYS, after.valid_from or ALWAYS),
        smaller(before.valid_until or FOREVER, after.valid_until or FOREVER),
    )


_EXAMPLE = AccessScope(
    id="prod-admin",
    revision=11,
    name="prod-admin",
    subjects=("group:group-dev",),
    accounts="acct:111111111111",
    sets="ps:ps-00000000000000ad",
    max_duration=timedelta(hours=1),
)
SCOPE = made_by_people(
    AccessScope,
    path="scopes",
    phrase="an access scope",
    body=ScopeBody,
    shown=ScopeShown,
    problems=_problems,
    order=_order,
    examples=(_EXAMPLE, _EXAMPLE.model_copy(update={"revision": 12, "max_duration": timedelta(hours=4)})),
)
