"""`If-Match` and `If-None-Match` as commands want them."""

import re

from services.approval.commands.rules import Precondition
from shared.errors import Malformed, PreconditionRequired

_ETAG = re.compile(r'"([0-9]{1,18})"')


def expected_version(if_match: str | None) -> int | None:
    """The version a decision is made on; None for `*`. Raises where the header is missing or unreadable."""
    if if_match is None:
        raise PreconditionRequired(
            'read the review first and send its ETag, If-Match: "<version>", so that you decide on what you '
            "have seen; or If-Match: * to decide on whatever it is now",
            code="if_match_missing",
        )
    return None if if_match.strip() == "*" else _number(if_match)


def precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """Both headers together; `If-None-Match` knows only `*` here."""
    if if_none_match is not None and if_none_match.strip() != "*":
        raise Malformed("If-None-Match can only be *: create, do not replace", code="if_none_match_invalid")
    nothing = if_none_match is not None
    if if_match is None:
        return Precondition(nothing=nothing)
    if if_match.strip() == "*":
        return Precondition(anything=True, nothing=nothing)
    return Precondition(revision=_number(if_match), nothing=nothing)


def _number(if_match: str) -> int:
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise Malformed(
            'If-Match must be one ETag as it was read, with its quotes, such as "3"', code="if_match_invalid"
        )
    return int(match[1])
