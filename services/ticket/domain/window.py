"""What windows and reasons may be asked for. Pure; times come in as arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.contracts.windows import LONGEST_WINDOW, Window, WindowAsked
from shared.foundation.errors import FieldError
from shared.text.secrets_in_text import holds_secret

LONGEST_REASON = 2000
GRACE = timedelta(minutes=1)
"""A start this little in the past is the caller's clock or typing, not a mistake."""


@dataclass(frozen=True)
class Limits:
    """The settings a plan is made under; see services/ticket/settings.py."""

    shortest_window: timedelta
    longest_lead: timedelta
    default_window: timedelta
    pending_limit: timedelta
    most_grants: int
    shortest_reason: int
    protected: frozenset[str] = frozenset()
    """Accounts that are requested only if they were registered as protected ones."""


def check_window(asked: WindowAsked, *, now: datetime, limits: Limits) -> list[FieldError]:
    """Everything wrong with a window in itself, whoever asks and for what."""
    if asked.ends_at is not None and asked.duration is not None:
        return [FieldError("/duration", "end_and_duration", "give either ends_at or duration, not both")]
    return [
        *_check_start(asked.starts_at, now, limits),
        *_check_end(asked, now),
        *_check_length(asked, now, limits),
    ]


def _check_start(starts_at: datetime | None, now: datetime, limits: Limits) -> list[FieldError]:
    if starts_at is None:
        return []
    if starts_at < now - GRACE:
        sentence = "the start is in the past; leave it out to start when approved"
        return [FieldError("/starts_at", "start_in_past", sentence)]
    if starts_at > now + limits.longest_lead:
        sentence = f"the start is more than {limits.longest_lead.days} days ahead; ask again nearer the time"
        return [FieldError("/starts_at", "start_too_far", sentence)]
    return []


def _check_end(asked: WindowAsked, now: datetime) -> list[FieldError]:
    if asked.ends_at is None:
        return []
    if asked.starts_at is not None and asked.ends_at <= asked.starts_at:
        return [FieldError("/ends_at", "end_before_start", "the end is not after the start")]
    if asked.ends_at <= now:
        return [FieldError("/ends_at", "end_in_past", "the end is in the past; choose a later one")]
    return []


def _check_length(asked: WindowAsked, now: datetime, limits: Limits) -> list[FieldError]:
    length = asked.length_from(now)
    field = "/duration" if asked.duration is not None else "/ends_at"
    if length is None or (asked.ends_at is not None and length <= timedelta(0)):
        return []
    if length <= timedelta(0):
        return [FieldError(field, "duration_not_positive", "the duration must be longer than nothing")]
    if length < limits.shortest_window:
        sentence = f"the shortest window is {limits.shortest_window}; ask for a longer one"
        return [FieldError(field, "duration_too_short", sentence)]
    if length > LONGEST_WINDOW:
        return [
            FieldError(field, "duration_absurd", f"nobody may ask for more than {LONGEST_WINDOW.days} days")
        ]
    return []


def check_later_end(
    window: Window, ends_at: datetime, *, ends_now: datetime, limits: Limits
) -> list[FieldError]:
    """Everything wrong with a new end of access that is given in a window and ends at `ends_now`."""
    if ends_at <= ends_now:
        return [FieldError("/ends_at", "end_not_later", "this is no later end than the access has already")]
    asked = WindowAsked(starts_at=window.starts_at, ends_at=ends_at)
    return _check_length(asked, ends_now, limits)


def pending_until(asked: WindowAsked, *, now: datetime, limits: Limits) -> datetime:
    """When a pending target times out: at its end, and with an open start at the latest after the limit."""
    end = asked.ends_at
    if end is None and asked.starts_at is not None and asked.duration is not None:
        end = asked.starts_at + asked.duration
    if asked.starts_at is not None and end is not None:
        return end
    open_limit = now + limits.pending_limit
    return open_limit if end is None else min(end, open_limit)


def check_reason(reason: str, limits: Limits) -> list[FieldError]:
    """A reason is for people and for the audit log, for years: it must say something and hold no secret."""
    if len(reason.strip()) < limits.shortest_reason:
        sentence = f"say why in at least {limits.shortest_reason} characters; approvers and auditors read it"
        return [FieldError("/reason", "reason_too_short", sentence)]
    if len(reason) > LONGEST_REASON:
        return [FieldError("/reason", "reason_too_long", f"at most {LONGEST_REASON} characters")]
    return looks_secret("/reason", reason)


def looks_secret(field: str, text: str) -> list[FieldError]:
    """One error when the text holds what looks like a key, a token or a password. It is not repeated."""
    if holds_secret(text):
        sentence = "this looks like it holds a secret; take it out (it would be mailed and kept for years)"
        return [FieldError(field, "looks_secret", sentence)]
    return []
