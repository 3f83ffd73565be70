"""Operations alerts, sent by each service itself: they do not travel on the bus they may be about.

Grouped (a storm is one message a minute) and repeated until the cause is gone. SNS and mail are both
tried; an alert that neither takes stays in the log and in the metric, and is tried again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Protocol

import aioboto3
from botocore.config import Config

from shared.foundation.clock import Clock, new_id
from shared.foundation.settings import ServiceSettings, SmtpSettings
from shared.foundation.smtp import deliver
from shared.observability import metrics
from shared.observability.logs import logger

EVERY = timedelta(minutes=1)
REPEAT = timedelta(minutes=15)
SUBJECT_LIMIT = 99  # SNS refuses a longer one
MESSAGE_BYTES = 200_000  # SNS refuses more than 256 KiB
MOST_WRITTEN = 50
"""Alerts written out in one message; a storm's others are counted."""

log = logger("alerts")


@dataclass(frozen=True)
class RaisedAlert:
    """A cause that is (or, with `once`, was) there."""

    key: str
    summary: str
    detail: str
    since: datetime
    once: bool = False
    sent_at: datetime | None = None


class Channel(Protocol):
    """A way out for a message; raises when it could not be handed over."""

    async def send(self, subject: str, text: str) -> None: ...


class Alerts:
    """What is wrong right now in one service. Raising the same key again changes nothing but the detail."""

    def __init__(self, *, service: str, clock: Clock, channels: Sequence[Channel]) -> None:
        self._service = service
        self._clock = clock
        self._channels = tuple(channels)
        self._alerts: dict[str, RaisedAlert] = {}
        self._last_sent: datetime | None = None

    @property
    def active(self) -> list[RaisedAlert]:
        return sorted(self._alerts.values(), key=lambda alert: alert.since)

    async def raise_alert(self, *, key: str, summary: str, detail: str, once: bool = False) -> None:
        known = self._alerts.get(key)
        self._alerts.pop(f"cleared/{key}", None)
        if known is None:
            log.error("alert", service=self._service, key=key, summary=summary, detail=detail)
            self._alerts[key] = RaisedAlert(key, summary, detail, since=self._clock.now(), once=once)
        else:
            self._alerts[key] = replace(known, detail=detail)
        self._measure()

    async def clear(self, key: str) -> None:
        """The cause is gone; the next message says so if people had been told."""
        alert = self._alerts.pop(key, None)
        if alert is not None:
            log.info("alert cleared", service=self._service, key=key)
            if alert.sent_at is not None:
                self._raise_cleared(alert)
        self._measure()

    def _raise_cleared(self, alert: RaisedAlert) -> None:
        key = f"cleared/{alert.key}"
        self._alerts[key] = RaisedAlert(
            key, f"cleared: {alert.summary}", "", since=self._clock.now(), once=True
        )

    async def run(self) -> None:
        """Send what is due, once a second looked at; ends by cancellation."""
        while True:
            await self.send_due()
            await asyncio.sleep(1)

    async def send_due(self) -> None:
        """One message with everything new or due for repetition, at most one a minute."""
        now = self._clock.now()
        due = [alert for alert in self.active if alert.sent_at is None or now - alert.sent_at >= REPEAT]
        if not due or (self._last_sent is not None and now - self._last_sent < EVERY):
            return
        self._last_sent = now
        if not await self._deliver(due):
            return
        for alert in due:
            self._note_sent(alert, now)
        self._measure()

    def _note_sent(self, alert: RaisedAlert, now: datetime) -> None:
        """What happened to an alert while it was being sent counts: it may be gone, or say more by now."""
        current = self._alerts.get(alert.key)
        if current is None and not alert.once:
            self._raise_cleared(alert)
        elif current is not None and not alert.once:
            self._alerts[alert.key] = replace(current, sent_at=now)
        elif current == alert:
            del self._alerts[alert.key]

    async def _deliver(self, due: list[RaisedAlert]) -> bool:
        """Through every channel; True when at least one took it, or when there is none but the log."""
        subject = due[0].summary if len(due) == 1 else f"{len(due)} alerts, first: {due[0].summary}"
        text = "\n\n".join(
            f"{alert.summary}\nsince {alert.since:%Y-%m-%d %H:%M:%SZ}\n{alert.detail}"
            for alert in due[:MOST_WRITTEN]
        )
        if len(due) > MOST_WRITTEN:
            text += f"\n\nand {len(due) - MOST_WRITTEN} more"
        taken = not self._channels
        for channel in self._channels:
            try:
                await channel.send(f"[JIT {self._service}] {subject}", text)
                taken = True
            except Exception as error:  # noqa: BLE001 (any failure means: the other channel, and again in a minute)
                log.warning(
                    "alert channel failed",
                    service=self._service,
                    channel=type(channel).__name__,
                    error=f"{type(error).__name__}: {error}",
                )
        return taken

    def _measure(self) -> None:
        metrics.ALERTS.labels(self._service).set(sum(not alert.once for alert in self._alerts.values()))


class SnsChannel:
    """Publishes to one SNS topic."""

    def __init__(self, topic_arn: str, *, endpoint: str | None) -> None:
        self._topic_arn = topic_arn
        self._endpoint = endpoint
        self._session = aioboto3.Session()

    async def send(self, subject: str, text: str) -> None:
        region = self._topic_arn.split(":")[3]
        config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2})
        async with self._session.client(
            "sns", region_name=region, endpoint_url=self._endpoint, config=config
        ) as sns:
            await sns.publish(
                TopicArn=self._topic_arn,
                Subject=_one_ascii_line(subject)[:SUBJECT_LIMIT],
                Message=text.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
            )


class MailChannel:
    """Mails a fixed list of addresses."""

    def __init__(self, smtp: SmtpSettings, recipients: Sequence[str]) -> None:
        self._smtp = smtp
        self._recipients = tuple(recipients)

    async def send(self, subject: str, text: str) -> None:
        message = EmailMessage()
        message["From"] = self._smtp.sender
        message["To"] = ", ".join(self._recipients)
        message["Subject"] = " ".join(subject.split())[:200]
        message["Message-ID"] = f"<{new_id()}@alerts.jit>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        await deliver(message, self._smtp)


def make_alerts(service: str, settings: ServiceSettings, clock: Clock) -> Alerts:
    channels: list[Channel] = []
    if settings.alerts_topic_arn:
        channels.append(SnsChannel(settings.alerts_topic_arn, endpoint=settings.alerts_aws_endpoint))
    if settings.alerts_mail_to:
        channels.append(MailChannel(settings.smtp, settings.alerts_mail_to))
    return Alerts(service=service, clock=clock, channels=channels)


def _one_ascii_line(text: str) -> str:
    return " ".join(text.encode("ascii", errors="replace").decode().split())
