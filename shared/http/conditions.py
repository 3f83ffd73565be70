"""`If-Match` and `If-None-Match`: what a caller takes to be there when they change or decide something."""

import re
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Header

from shared.foundation.errors import Malformed, PreconditionFailed, PreconditionRequired

IfMatch: TypeAlias = Annotated[
    str, Header(alias="If-Match", description="the ETag of what was read", examples=['"3"'])
]
"""Where nothing is decided without it; see `expected_version`."""
IfMatchToReplace: TypeAlias = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="the ETag that was read, needed to replace or remove what is there; `*` takes anything",
        examples=['"3"'],
    ),
]
IfNoneMatch: TypeAlias = Annotated[
    str | None, Header(alias="If-None-Match", description="`*` to create and never replace")
]

_ETAG = re.compile(r'"([0-9]{1,18})"')


@dataclass(frozen=True)
class Precondition:
    """Both headers together, as read."""

    revision: int | None = None
    """The revision that was read."""
    anything: bool = False
    """`If-Match: *`: whatever is there, but something."""
    nothing: bool = False
    """`If-None-Match: *`: only to create."""

    def check(self, what: str, found: int | None) -> None:
        """Raise unless `what` is as the caller takes it to be; `found` is its revision, None for absent."""
        if found is None:
            if self.anything or self.revision is not None:
                raise PreconditionFailed(
                    f"{what} is not there any more; read the list again", code="document_changed"
                )
            return
        if self.nothing:
            raise PreconditionFailed(
                f"{what} exists already; choose another id, or replace it with If-Match",
                code="document_exists",
            )
        if self.revision is None and not self.anything:
            raise PreconditionRequired(
                f'{what} exists: read it and send its ETag with the change, If-Match: "{found}"',
                code="if_match_missing",
            )
        if self.revision not in {None, found}:
            raise changed(what)


def changed(what: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"{what} has changed since you read it; read it again and repeat your change", code="document_changed"
    )


def precondition(if_match: str | None, if_none_match: str | None = None) -> Precondition:
    """From the headers; `If-None-Match` knows only `*` here."""
    if if_none_match is not None and if_none_match.strip() != "*":
        raise Malformed("If-None-Match can only be *: create, do not replace", code="if_none_match_invalid")
    nothing = if_none_match is not None
    if if_match is None:
        return Precondition(nothing=nothing)
    if if_match.strip() == "*":
        return Precondition(anything=True, nothing=nothing)
    return Precondition(revision=_number(if_match), nothing=nothing)


def expected_version(if_match: str) -> int:
    """The version a decision is made on. `*` decides nothing: nobody votes for what they have not seen."""
    if if_match.strip() == "*":
        raise PreconditionRequired(
            'read it and send its ETag, If-Match: "<version>"; * is not taken here, '
            "since a decision is made on what was seen",
            code="if_match_star",
        )
    return _number(if_match)


def _number(if_match: str) -> int:
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise Malformed(
            'If-Match must be one ETag as it was read, with its quotes, such as "3"', code="if_match_invalid"
        )
    return int(match[1])
