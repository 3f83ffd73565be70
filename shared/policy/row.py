"""What the policy is made of and asked with: rows, asks, answers, and the strict shape of their ids.

Values only. Rows are compiled from documents in shared/policy/rows.py and decided in engine.py.
"""

import math
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from shared.policy.tags import tag_problem

Effect = Literal["allow", "deny"]
Code = Literal["ALLOW", "EXPLICIT_DENY", "NO_RULE", "NOT_READY", "RECENTLY_REBOUND"]

ANY: Final = "*"
ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""`not_before` of a row without a beginning."""
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""`expires` of a row without an end."""
UNLIMITED: Final = math.inf
"""`max_seconds` of a row that allows any length."""

VERBS: Final = frozenset(
    {
        "request",
        "request_for",
        "terminate",
        "ticket.read",
        "config.read",
        "config.write",
        "audit.read",
        "ops.read",
        "ops.write",
    }
)
"""Every verb but `approve/<rule id>/<stage>`, of which there is one per stage."""

SLUG: Final = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
"""Ids that people choose for scopes, rules and set groups: every one of them fits into a row."""
_ID: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
VERB: Final = re.compile(rf"approve/{_ID}/[1-9][0-9]{{0,2}}")
SUBJECT: Final = re.compile(rf"(?:user|group|role):{_ID}")
PERSONAL: Final = re.compile(rf"(?:user|group):{_ID}")
"""What documents may name: roles come from the settings."""
PLACE: Final = re.compile(rf"acct:[0-9]{{12}}|ou:{_ID}|\*")
TAG: Final = re.compile(r"tag:[^=]+=[^=]*")
"""Roughly: tag_problem knows the one spelling of a tag."""
SET: Final = re.compile(rf"psg?:{_ID}|\*")
RULE: Final = re.compile(rf"[a-z_]+/{_ID}")


class RowRefused(ValueError):
    """A row that must not be decided on; the message names the field and the value."""


@dataclass(frozen=True, slots=True)
class Row:
    """One subject's right (or denial) to one verb on one selector of accounts and one of sets.

    `max_seconds` bounds the asked length of an allow, inclusive; a deny ignores it. Valid while
    `not_before <= now < expires`. `rule` is the key of the document the row came from.
    """

    verb: str
    subject: str
    scope: str
    set: str
    max_seconds: float
    not_before: datetime
    expires: datetime
    effect: Effect
    rule: str

    def __str__(self) -> str:
        return f"{self.rule} {self.effect} {self.subject} {self.verb} {self.scope} {self.set}"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. The sets hold exact ids; a string in their place would match by substring.

    `length` is how long access is asked for; zero where the verb has no length.
    """

    subjects: AbstractSet[str]
    verb: str
    scopes: AbstractSet[str]
    sets: AbstractSet[str]
    length: timedelta
    now: datetime

    def __post_init__(self) -> None:
        for name, value in (("subjects", self.subjects), ("scopes", self.scopes), ("sets", self.sets)):
            if not isinstance(value, AbstractSet):
                raise TypeError(f"Ask.{name} must be a set of ids, not {type(value).__name__}")
        if self.now.tzinfo is None:
            raise TypeError("Ask.now must carry a time zone")
        if ANY in self.subjects:
            raise ValueError("Ask.subjects must not hold `*`: nobody is everybody")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided and because of what: the keys of the deciding documents, and their rows as text."""

    allowed: bool
    code: Code
    rules: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()
    """The deciding rows, each with the subject that proved it."""


RECENTLY_REBOUND: Final = Answer(allowed=False, code="RECENTLY_REBOUND")
"""To votes and administration of somebody who was bound to another sign-in within the last day."""


def known_verb(verb: str) -> bool:
    return verb in VERBS or VERB.fullmatch(verb) is not None


def is_scope(text: str) -> bool:
    """Whether this is an account selector, in its one spelling."""
    return tag_problem(text) is None if text.startswith("tag:") else PLACE.fullmatch(text) is not None


def check_row(row: Row) -> None:
    """Raises RowRefused unless every field has its exact form."""
    checks: tuple[tuple[str, object, bool], ...] = (
        ("verb", row.verb, isinstance(row.verb, str) and known_verb(row.verb)),
        ("subject", row.subject, _fits(SUBJECT, row.subject)),
        ("scope", row.scope, isinstance(row.scope, str) and is_scope(row.scope)),
        ("set", row.set, _fits(SET, row.set)),
        ("max_seconds", row.max_seconds, _is_length(row.max_seconds)),
        ("not_before", row.not_before, _is_moment(row.not_before)),
        ("expires", row.expires, _is_moment(row.expires)),
        ("effect", row.effect, row.effect in ("allow", "deny")),
        ("rule", row.rule, _fits(RULE, row.rule)),
    )
    for name, value, good in checks:
        if not good:
            raise RowRefused(f"{name} {value!r} is not allowed in a policy row")
    if row.not_before >= row.expires:
        raise RowRefused(
            f"the row of {row.rule} is never valid: {row.not_before} is not before {row.expires}"
        )


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_moment(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None
