"""The lifecycle of a delivery: pending until the server took it, refused it, or time ran out. Pure."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.notifier.domain.notice import Notice, Recipient, Template
from shared.contracts.change import Alert, Change, Origin
from shared.contracts.event import Event
from shared.contracts.notification import NotificationFailed, NotificationSent
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
class Patience:
    """Pauses between attempts: doubled from `first` to `longest`."""

    first: timedelta
    longest: timedelta

    def after(self, attempt: int) -> timedelta:
        """The pause after attempt 1, 2, 3..."""
        return min(self.first * (1 << min(attempt - 1, 30)), self.longest)


def settle(
    delivery: Delivery, outcome: Outcome, *, patience: Patience, address: str | None, origin: Origin
) -> Change[Settlement]:
    """What becomes of a delivery after an attempt, with its fact. A pending one gives no fact."""
    settlement = _settlement(delivery, outcome, patience=patience, now=origin.at)
    if isinstance(settlement, Again):
        return Change(settlement)
    event = _event(delivery, settlement, address=address, origin=origin)
    alerts = (_alert(delivery, settlement),) if isinstance(settlement, GivenUp) else ()
    return Change(settlement, (event,), alerts)


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
    """Time runs out only at an attempt: each mail gets one."""
    if isinstance(outcome, Accepted):
        return Sent()
    if isinstance(outcome, Refused):
        return GivenUp(outcome.detail, outcome.code)
    if now >= delivery.give_up_at:
        detail = f"given up after {delivery.attempt} attempts; the last: {outcome.detail}"
        return GivenUp(detail, outcome.code)
    return Again(now + patience.after(delivery.attempt), outcome.detail, outcome.code)


def _event(delivery: Delivery, settlement: Sent | GivenUp, *, address: str | None, origin: Origin) -> Event:
    again = f", tried again by {delivery.retried_by}" if delivery.retried_by else ""
    common: dict[str, Any] = {
        "subject": delivery.ticket_id or delivery.recipient.user_id,
        "ticket_id": delivery.ticket_id,
        "event_ids": delivery.event_ids,
        "recipient": delivery.recipient.user_id,
        "address": address,
        "template": delivery.template.value,
        "message_id": delivery.message_id,
    }
    if isinstance(settlement, Sent):
        because = origin.because(f"the mail server took the mail{again}")
        return NotificationSent(**common, **because.fields(), attempts=delivery.attempt)
    because = origin.because(f"the mail could not be delivered{again}")
    return NotificationFailed(
        **common, **because.fields(), smtp_code=settlement.code, detail=settlement.detail
    )


def _alert(delivery: Delivery, settlement: GivenUp) -> Alert:
    of_ticket = f" of ticket {delivery.ticket_id}" if delivery.ticket_id else ""
    return Alert(
        key=f"undeliverable_mail/{delivery.id}",
        summary="notifier: undeliverable mail",
        detail=f"{delivery.template}{of_ticket} to {delivery.recipient.user_id}: "
        f"{settlement.detail}. See GET /v1/deliveries?state=failed; "
        f"POST /v1/deliveries/{delivery.id}/retry sends it again.",
    )
