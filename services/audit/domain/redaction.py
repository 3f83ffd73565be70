"""The last look at every text before it is kept for ever: no credential, no character a store refuses.

The allow-lists decide which fields are kept; this decides that none of them carries a key or a token
somebody pasted into a reason or a comment. The ticket API refuses those already; this is the second door.
"""

import re
from functools import lru_cache
from typing import Any, Final

from shared.text.secrets_in_text import redact

_LONGEST_KNOWN: Final = 256
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Most texts that no record before had; no credential has this shape."""


def clean(value: Any) -> Any:
    """A JSON value with secrets struck out, in keys and values, and characters no store takes replaced."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict):
        return {_clean_text(str(name)): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _clean_text(text: str) -> str:
    if _UUID.fullmatch(text):
        return text
    return _known(text) if len(text) <= _LONGEST_KNOWN else _anew(text)


def _anew(text: str) -> str:
    # PostgreSQL's text has no NUL and UTF-8 no lone surrogate; an event must not be lost to either.
    return redact(text).replace("\x00", "�").encode("utf-8", errors="replace").decode("utf-8")


_known = lru_cache(maxsize=8192)(_anew)
"""Most texts of a record are names of fields, words and ids that the records around it have too; asking every
pattern about each was a third of the service's work."""
