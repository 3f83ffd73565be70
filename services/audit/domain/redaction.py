"""The last look at every text before it is kept for ever: no credential, no character a store refuses.

The allow-lists decide which fields are kept; this decides that none of them carries a key or a token
somebody pasted into a reason or a comment. The ticket API refuses those already; this is the second door.
"""

import re
from typing import Any, Final

REDACTED: Final = "[redacted]"

_SECRETS: Final = (
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/._~=-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),  # JSON web tokens
    re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),  # AWS access key ids
    re.compile(r"(?i)\baws_?(?:secret_?access_?key|session_?token)\b\s*[=:]\s*\S+"),
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"),
    re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,})"),  # GitHub, Slack
)


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
    for pattern in _SECRETS:
        text = pattern.sub(REDACTED, text)
    # PostgreSQL's text has no NUL and UTF-8 no lone surrogate; an event must not be lost to either.
    return text.replace("\x00", "�").encode("utf-8", errors="replace").decode("utf-8")
