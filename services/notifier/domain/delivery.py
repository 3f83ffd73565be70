"""The life of one delivery: pending until the server took it, refused it for good, or time ran out. Pure."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.foundation.errors import Conflict

_IDS = uuid.UUID("5e0f5b1a-6a4e-5f0e-9d5a-3d0f9f0d7c11")
"""Namespace of our Message-IDs; a constant, so that a repeat has the same one."""


class State(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True)
class Accepted:
    """The server answered 250 after the data: the mail is its business now."""


@dataclass(frozen=True)
class Deferred:
    """Not now: the server said 4xx, or could not be spoken to. It may even have taken the mail."""

    detail: str
    code: int | None = None
    server: bool = False
    """The trouble is the server's or the line's, not this mail's: others would fare the same."""


@dataclass(frozen=True)
class Refused:
    """For good: trying again would get the same answer."""

    detail: str
    code: int | None = None


Outcome = Accepted | Deferred | Refused


@dataclass(frozen=True)
class Sent:
    pass


@dataclass(frozen=True)
class Again:
    at: datetime
    detail: str
    code: int | None


@dataclass(frozen=True)
class GivenUp:
    detail: str
    code: int | None


Settlement = Sent | Again | GivenUp


@dataclass(frozen=True)
class Patience:
    """Pauses between attempts: doubled from `first` to `longest`."""

    first: timedelta
    longest: timedelta

    def after(self, attempt: int) -> timedelta:
        """The pause after attempt 1, 2, 3..."""
        return min(self.first * (1 << min(attempt - 1, 30)), self.longest)


def settle(
    outcome: Outcome, *, attempt: int, patience: Patience, give_up_at: datetime, now: datetime
) -> Settlement:
    """What becomes of a delivery after an attempt. Time runs out only at an attempt: each gets one."""
    if isinstance(outcome, Accepted):
        return Sent()
    if isinstance(outcome, Refused):
        return GivenUp(outcome.detail, outcome.code)
    if now >= give_up_at:
        return GivenUp(f"given up after {attempt} attempts; the last: {outcome.detail}", outcome.code)
    return Again(now + patience.after(attempt), outcome.detail, outcome.code)


def check_retry(state: State) -> None:
    """An operator may hurry what waits and revive what failed; what was sent stays sent."""
    if state is State.SENT:
        raise Conflict("this mail has been sent; there is nothing to try again", code="already_sent")


def message_id(event_id: str, recipient: str, *, domain: str) -> str:
    """The same for every attempt, so that a repeat after a crash is recognised as one."""
    return f"<{uuid.uuid5(_IDS, f'{event_id} {recipient}')}@{domain}>"


def thread_id(ticket_id: str, *, domain: str) -> str:
    """What all mails of a ticket refer to. No mail has this id: nobody's first mail is everybody's first."""
    return f"<{uuid.uuid5(_IDS, f'ticket {ticket_id}')}@{domain}>"
