"""What looks like a credential in a text that people wrote: refused where it comes in, struck out of the log.

Pure patterns: those of detect-secrets for keys with a shape of their own, and ours for what people write
around one. The ticket service asks before it takes a reason; the audit service strikes out what came past
that door. Both know the same credentials; only the first also refuses what merely looks like one.
"""

import re
from typing import Final

from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

REDACTED: Final = "[redacted]"

_SHAPES: Final = (
    AzureStorageKeyDetector,
    BasicAuthDetector,
    DiscordBotTokenDetector,
    GitHubTokenDetector,
    GitLabTokenDetector,
    JwtTokenDetector,
    MailchimpDetector,
    PypiTokenDetector,
    SendGridDetector,
    SlackDetector,
    SquareOAuthDetector,
    StripeDetector,
    TelegramBotTokenDetector,
    TwilioKeyDetector,
)
"""Keys with a shape of their own. Its guesses by entropy and by public address are left out: they take commit
ids and hosts for secrets."""

_OURS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # A digit, a "=" or a hump: "basic maintenance" is no credential.
        r"\b(?i:bearer|basic)\s+(?=[A-Za-z0-9+/._~-]*(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9+/._~=-]{8,}",
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?",  # JSON web tokens
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS access key ids
        r"(?i)\baws_?(?:secret_?access_?key|session_?token)\b\s*[=:]\s*\S+",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,})",  # GitHub, Slack
        # npm and OpenAI: detect-secrets' own patterns take quadratic time.
        r"\bnpm_[A-Za-z0-9]{36}\b|\bsk-[A-Za-z0-9_-]{0,80}T3BlbkFJ[A-Za-z0-9_-]{20,80}",
        r"(?i)\b(?:password|passwd|secret|api[_-]?key)\b\s*[:=]\s*\S{6,}",
    )
)
_CREDENTIALS: Final = (*_OURS, *(pattern for shape in _SHAPES for pattern in shape.denylist))
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
