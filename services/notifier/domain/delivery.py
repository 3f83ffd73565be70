"""The lifecycle of a delivery: pending until the server took it, refused it, or time ran out. Pure.

What is said of it is in services/notifier/domain/facts.py.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.notifier.domain.notice import Notice, Recipient, Template
from shared.foundation.errors import Conflict

_IDS = uuid.UUID("5e0f5b1a-6a4e-5f0e-9d5a-3d0f9f0d7c11")
"""Namespace of our Message-IDs; a constant, so that a repeat has the same one."""


class State(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True)
class Delivery:
    """A mail to one person, ours to send until its lease ends, with the facts it is about."""

    id: str
    ticket_id: str | None
    """None of a mail about a person alone."""
    template: Template
    recipient: Recipient
    message_id: str
    attempt: int
    """From 1; also what fences off a sender whose lease ran out."""
    give_up_at: datetime
    retried_by: str | None
    notices: tuple[Notice, ...]
    """One or more, in the order in which things happened."""

    @property
    def thread(self) -> str:
        """What its thread is about; a mail about no ticket is alone in its own."""
        return self.ticket_id or self.id

    @property
    def event_ids(self) -> tuple[str, ...]:
        return tuple(notice.event_id for notice in self.notices)


@dataclass(frozen=True)
class Accepted:
    """The server answered 250 after the data: from then on the mail is the server's."""


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
class Settled:
    """What became of an attempt, at which address and when."""

    delivery: Delivery
    settlement: Settlement
    address: str | None
    at: datetime


@dataclass(frozen=True)
class Patience:
    """Pauses between attempts: doubled from `first` to `longest`."""

    first: timedelta
    longest: timedelta

    def after(self, attempt: int) -> timedelta:
        """The pause after attempt 1, 2, 3..."""
        return min(self.first * (1 << min(attempt - 1, 30)), self.longest)


def settle(
    delivery: Delivery, outcome: Outcome, *, patience: Patience, address: str | None, now: datetime
) -> Settled:
    """What becomes of a delivery after an attempt. Time runs out only at one: each mail gets one."""
    return Settled(delivery, _settlement(delivery, outcome, patience=patience, now=now), address, now)


def check_retry(state: State) -> None:
    """An operator may hurry what waits and revive what failed; what was sent stays sent."""
    if state is State.SENT:
        raise Conflict("this mail has been sent; there is nothing to try again", code="already_sent")


def message_id(event_id: str, template: Template, recipient: str, *, domain: str) -> str:
    """Of a mail by the first fact it was made for.

    The same for every attempt, so that a repeat after a crash is recognised as one. With the template, an
    id that two services used for two facts still makes two mails.
    """
    return f"<{uuid.uuid5(_IDS, f'{event_id} {template} {recipient}')}@{domain}>"


def thread_id(ticket_id: str, *, domain: str) -> str:
    """What all mails of a ticket refer to. No mail has this id: nobody's first mail is everybody's first."""
    return f"<{uuid.uuid5(_IDS, f'ticket {ticket_id}')}@{domain}>"


def _settlement(delivery: Delivery, outcome: Outcome, *, patience: Patience, now: datetime) -> Settlement:
    if isinstance(outcome, Accepted):
        return Sent()
    if isinstance(outcome, Refused):
        return GivenUp(outcome.detail, outcome.code)
    if now >= delivery.give_up_at:
        detail = f"given up after {delivery.attempt} attempts; the last: {outcome.detail}"
        return GivenUp(detail, outcome.code)
    return Again(now + patience.after(delivery.attempt), outcome.detail, outcome.code)
