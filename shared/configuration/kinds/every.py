"""Every kind of configuration document there is. A new kind is a file beside this one, and a line here."""

from typing import Any, Final

from shared.configuration.kind import Kind
from shared.configuration.kinds.account import ACCOUNT
from shared.configuration.kinds.permission_set import PERMISSION_SET
from shared.configuration.kinds.rule import RULE
from shared.configuration.kinds.scope import SCOPE
from shared.configuration.kinds.sensitive_mark import SENSITIVE_MARK
from shared.configuration.kinds.set_group import SET_GROUP

KINDS: Final[tuple[Kind[Any], ...]] = (ACCOUNT, PERMISSION_SET, SET_GROUP, SCOPE, RULE, SENSITIVE_MARK)


def kinds_of(owner: str) -> tuple[Kind[Any], ...]:
    """The kinds whose documents a service keeps."""
    return tuple(kind for kind in KINDS if kind.owner == owner)
