"""Pages and their opaque tokens.

A token belongs to one operation with the same parameters and says which row was last given, so that rows
that come or go between two pages are neither skipped nor repeated. Anything else offered as one is refused.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Row = TypeVar("Row")
_NOT_PART = ("NextToken", "MaxResults")


class BadToken(Exception):
    """The token was not given out for this operation and these parameters."""


def page(
    rows: Sequence[Row],
    *,
    key: Callable[[Row], str],
    operation: str,
    params: dict[str, Any],
    size: int,
    empty_first: bool = False,
) -> tuple[list[Row], str | None]:
    """The page of `rows` that `params` asks for, and the token of the next one, None after the last."""
    token = params.get("NextToken")
    scope = _scope(operation, params)
    after = _read(token, scope) if token else ""
    if empty_first and not token and rows:
        return [], _write("", scope)
    rest = [row for row in sorted(rows, key=key) if key(row) > after]
    shown = rest[:size]
    return shown, _write(key(shown[-1]), scope) if len(rest) > size else None


def _scope(operation: str, params: dict[str, Any]) -> str:
    relevant = {name: value for name, value in params.items() if name not in _NOT_PART}
    text = json.dumps([operation, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(after: str, scope: str) -> str:
    return base64.urlsafe_b64encode(f"{scope}{after}".encode()).decode()


def _read(token: str, scope: str) -> str:
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise BadToken from error
    if not text.startswith(scope):
        raise BadToken
    return text.removeprefix(scope)
