"""Groups of permission sets: used in scopes and rules, and requestable as one."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from shared.configuration.kind import Situation, made_by_people
from shared.configuration.order import NEITHER, WIDENS, Direction, same
from shared.contracts.documents import AccessScope, ApprovalRule, PermissionSet, SetGroup
from shared.foundation.errors import FieldError
from shared.foundation.shapes import Body, Shown
from shared.policy.snapshot import Snapshot
from shared.text.texts import Line

ShortText = Annotated[Line, Field(max_length=100)]


class SetGroupBody(Body):
    """A named group of registered permission sets."""

    name: ShortText = Field(examples=["elevated"])
    sets: list[ShortText] = Field(
        min_length=1,
        max_length=100,
        description="ids of registered sets",
        examples=[["ps-00000000000000ad"]],
    )


class SetGroupShown(Shown):
    """A named group of permission sets."""

    id: str
    revision: int
    name: str
    sets: list[str]


def _problems(document: SetGroup, situation: Situation) -> list[FieldError]:
    return [
        FieldError(f"/sets/{index}", code, sentence)
        for index, set_id in enumerate(document.sets)
        for code, sentence in _problems_of(set_id, situation.snapshot)
    ]


def _problems_of(set_id: str, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    if snapshot.registered_set(set_id) is None:
        yield "set_not_registered", f"permission set {set_id} is not registered"
    elif snapshot.get(PermissionSet, set_id) is None:
        yield "set_gone", f"permission set {set_id} is registered, but AWS does not have it any more"


def _order(before: SetGroup | None, after: SetGroup | None) -> Direction:
    """A set more is more in a scope that allows and less in one that denies: no change is known to narrow."""
    if before is None or after is None:
        return NEITHER if before is after else WIDENS
    return same(set(before.sets), set(after.sets))


def _effect(before: SetGroup | None, after: SetGroup | None, snapshot: Snapshot) -> Direction | None:
    """A group that no scope and no rule names gives and takes nothing."""
    group = after or before
    selector = f"psg:{group.id}" if group else ""
    named = {one.sets for one in snapshot.all(AccessScope)} | {one.sets for one in snapshot.all(ApprovalRule)}
    return None if selector in named else NEITHER


SET_GROUP = made_by_people(
    SetGroup,
    path="set-groups",
    phrase="a set group",
    body=SetGroupBody,
    shown=SetGroupShown,
    problems=_problems,
    order=_order,
    effect=_effect,
    everybody_reads=True,
    examples=(
        SetGroup(id="elevated", revision=11, name="elevated"),
        SetGroup(id="elevated", revision=12, name="elevated", sets=("ps-00000000000000ad",)),
    ),
)
