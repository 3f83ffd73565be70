"""What looks like a credential in a text that people wrote: refused where it comes in, struck out of the log.

Pure patterns. The ticket service asks before it takes a reason; the audit service strikes out what came
past that door. Both know the same credentials; only the first also refuses what merely looks like one.
"""

import re
from typing import Final

REDACTED: Final = "[redacted]"

_CREDENTIALS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # A digit, a "=" or a hump: "basic maintenance" is no credential.
        r"\b(?i:bearer|basic)\s+(?=[A-Za-z0-9+/._~-]*(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9+/._~=-]{8,}",
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?",  # JSON web tokens
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS access key ids
        r"(?i)\baws_?(?:secret_?access_?key|session_?token)\b\s*[=:]\s*\S+",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,})",  # GitHub, Slack
        r"(?i)\b(?:password|passwd|secret|api[_-]?key)\b\s*[:=]\s*\S{6,}",
    )
)
_PERHAPS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:AROA|AIDA)[A-Z0-9]{16}\b",  # ids of AWS roles and users, pasted next to their keys
        r"(?i)\btoken\b\s*[:=]\s*\S{6,}",
        # 40 characters with a digit, a small and a capital letter: an AWS secret access key, as a rule.
        r"(?<![A-Za-z0-9/+=])(?=[A-Za-z0-9/+]*\d)(?=[A-Za-z0-9/+]*[a-z])(?=[A-Za-z0-9/+]*[A-Z])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    )
)


def holds_secret(text: str) -> bool:
    """Whether it holds what is a credential or looks like one: reason enough to ask for another text."""
    return any(pattern.search(text) for pattern in (*_CREDENTIALS, *_PERHAPS))


def redact(text: str) -> str:
    """The text with credentials struck out; what only looks like one stays, since it may be evidence."""
    for pattern in _CREDENTIALS:
        text = pattern.sub(REDACTED, text)
    return text
