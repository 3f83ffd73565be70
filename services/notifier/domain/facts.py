"""What is said of mails that were settled together: few facts that list them, an alert for each loss. Pure.

A fact lists the mails of which it is true word for word: one ticket, kind and attempt, the same events, the
same answer. So a failure never hides in a success, and no mail is said to be about what it does not tell.
What waits for another attempt is no news yet, and gives no fact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.notifier.domain.delivery import Again, Delivery, GivenUp, Sent, Settled
from services.notifier.domain.notice import Template
from shared.contracts.change import Alert, Origin
from shared.contracts.notification import Mail, NotificationFact, NotificationFailed, NotificationSent


@dataclass(frozen=True)
class _Alike:
    """What mails of one fact have in common."""

    subject: str
    """The ticket; of a mail about none its recipient, so that such a fact has one mail."""
    ticket_id: str | None
    event_ids: tuple[str, ...]
    template: Template
    attempt: int
    retried_by: str | None
    end: Sent | GivenUp
    """With the server's words: who was refused for another reason is told apart."""


def facts_of(settled: Sequence[Settled], origin: Origin) -> tuple[NotificationFact, ...]:
    """Every mail that was sent or given up, each in one fact; in the order in which they were settled."""
    mails: dict[_Alike, list[Mail]] = {}
    for one in settled:
        if not isinstance(one.settlement, Again):
            mails.setdefault(_alike(one.delivery, one.settlement), []).append(_mail(one))
    return tuple(_fact(alike, listed, origin) for alike, listed in mails.items())


def alerts_of(settled: Sequence[Settled]) -> tuple[Alert, ...]:
    """One for each mail that was given up: each has to be mended or tried again by itself."""
    return tuple(
        _alert(one.delivery, one.settlement) for one in settled if isinstance(one.settlement, GivenUp)
    )


def _alike(delivery: Delivery, end: Sent | GivenUp) -> _Alike:
    return _Alike(
        subject=delivery.ticket_id or delivery.recipient.user_id,
        ticket_id=delivery.ticket_id,
        event_ids=delivery.event_ids,
        template=delivery.template,
        attempt=delivery.attempt,
        retried_by=delivery.retried_by,
        end=end,
    )


def _mail(settled: Settled) -> Mail:
    delivery = settled.delivery
    return Mail(
        recipient=delivery.recipient.user_id,
        address=settled.address,
        message_id=delivery.message_id,
        at=settled.at,
    )


def _fact(alike: _Alike, mails: Sequence[Mail], origin: Origin) -> NotificationFact:
    end = alike.end
    common: dict[str, Any] = {
        **replace(origin, cause=alike.event_ids[0], why=_why(alike, len(mails))).fields(),
        "subject": alike.subject,
        "ticket_id": alike.ticket_id,
        "event_ids": alike.event_ids,
        "template": alike.template.value,
        "attempts": alike.attempt,
        "mails": tuple(sorted(mails, key=lambda mail: (mail.recipient, mail.message_id))),
    }
    if isinstance(end, Sent):
        return NotificationSent(**common)
    return NotificationFailed(**common, smtp_code=end.code, detail=end.detail)


def _why(alike: _Alike, count: int) -> str:
    what = "the mail" if count == 1 else f"the {count} mails"
    said = f"the mail server took {what}" if isinstance(alike.end, Sent) else f"{what} could not be delivered"
    return f"{said}, tried again by {alike.retried_by}" if alike.retried_by else said


def _alert(delivery: Delivery, settlement: GivenUp) -> Alert:
    of_ticket = f" of ticket {delivery.ticket_id}" if delivery.ticket_id else ""
    return Alert(
        key=f"undeliverable_mail/{delivery.id}",
        summary="notifier: undeliverable mail",
        detail=f"{delivery.template}{of_ticket} to {delivery.recipient.user_id}: "
        f"{settlement.detail}. See GET /v1/deliveries?state=failed; "
        f"POST /v1/deliveries/{delivery.id}/retry sends it again.",
    )
