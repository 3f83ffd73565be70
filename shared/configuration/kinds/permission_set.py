"""Registered permission sets: which of Identity Center's sets may be asked for."""

from pydantic import Field

from shared.configuration.kind import Kind, Situation
from shared.configuration.order import NEITHER, Direction, presence, smaller
from shared.contracts.documents import PermissionSet, RegisteredSet
from shared.foundation.errors import FieldError
from shared.foundation.shapes import Body, Flag, Shown
from shared.policy.snapshot import Snapshot
from shared.text.durations import Duration, format_duration

SET_ID = r"^ps-[a-z0-9]{1,32}$"


class SetBody(Body):
    """A permission set's registration."""

    long_session_acknowledged: Flag = Field(
        default=False,
        description="you know that credentials outlive the end of access by more than an hour",
        examples=[True],
    )


class SetShown(Shown):
    """A permission set as AWS has it, and its registration with JIT."""

    id: str
    arn: str = Field(description="empty where AWS does not have it any more")
    name: str
    description: str
    session_duration: Duration | None
    summary: list[str] = Field(description="what it allows, a line each")
    tags: dict[str, str]
    gone: bool = Field(description="AWS does not have it any more")
    registered: bool
    long_session_acknowledged: bool
    revision: int | None = Field(description="of the registration; null where it is not registered")


def _problems(document: RegisteredSet, situation: Situation) -> list[FieldError]:
    found = situation.snapshot.get(PermissionSet, document.id)
    if found is None:
        sentence = f"Identity Center has no permission set {document.id}, as far as the inventory knows"
        return [FieldError("set_id", "set_unknown", sentence)]
    if found.has_long_sessions and not document.long_session_acknowledged:
        sentence = (
            f"credentials of {found.name} live up to {format_duration(found.session_duration)} and outlive "
            "the end of access by as much; set long_session_acknowledged to true to register it all the same"
        )
        return [FieldError("/long_session_acknowledged", "long_session", sentence)]
    return []


def _order(before: RegisteredSet | None, after: RegisteredSet | None) -> Direction:
    there = presence(before, after)
    if before is None or after is None:
        return there or NEITHER
    return smaller(before.long_session_acknowledged, after.long_session_acknowledged)


def _show(set_id: str, found: RegisteredSet | None, snapshot: Snapshot) -> SetShown | None:
    known = snapshot.get(PermissionSet, set_id)
    if known is None and found is None:
        return None
    return SetShown(
        id=set_id,
        arn=known.arn if known else "",
        name=known.name if known else "",
        description=known.description if known else "",
        session_duration=known.session_duration if known else None,
        summary=list(known.summary) if known else [],
        tags=known.tags if known else {},
        gone=known is None,
        registered=found is not None,
        long_session_acknowledged=found is not None and found.long_session_acknowledged,
        revision=found.revision if found else None,
    )


PERMISSION_SET = Kind(
    document=RegisteredSet,
    path="sets",
    phrase="a permission set",
    body=SetBody,
    shown=SetShown,
    make=lambda set_id, body, _: RegisteredSet(id=set_id, **body.model_dump()),
    problems=_problems,
    order=_order,
    show=_show,
    everybody_reads=True,
    inventory=lambda snapshot: (one.id for one in snapshot.all(PermissionSet)),
    id_pattern=SET_ID,
    known_id_pattern=SET_ID,
    examples=(
        RegisteredSet(id="ps-00000000000000ad", revision=11),
        RegisteredSet(id="ps-00000000000000ad", revision=12, long_session_acknowledged=True),
    ),
)
