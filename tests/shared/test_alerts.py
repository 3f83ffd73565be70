"""Operations alerts: grouped, repeated until the cause is gone, and through every channel that works."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no type information is published
import pytest
from moto.server import ThreadedMotoServer

from local.mailbox import Mailbox, mailbox
from shared.foundation.clock import ManualClock
from shared.foundation.settings import ServiceSettings, SmtpSettings
from shared.observability.alerts import EVERY, REPEAT, Alerts, MailChannel, SnsChannel, make_alerts
from tests.support.harness import NOW
from tests.support.signing import key_settings

SECOND = timedelta(seconds=1)


class Paper:
    """A channel that keeps what it is given, and refuses while told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.broken = False
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def send(self, subject: str, text: str) -> None:
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.broken:
            raise ConnectionError("refused")
        self.sent.append((subject, text))


class Desk:
    """Alerts on a manual clock."""

    def __init__(self, *channels: Any) -> None:
        self.clock = ManualClock(NOW)
        self.alerts = Alerts(service="ticket", clock=self.clock, channels=channels)

    async def raise_(self, key: str, *, once: bool = False, detail: str = "because") -> None:
        await self.alerts.raise_alert(key=key, summary=f"{key} is wrong", detail=detail, once=once)

    async def pass_(self, by: timedelta) -> None:
        """Look every second, as the service does."""
        for _ in range(int(by / SECOND)):
            self.clock.advance(SECOND)
            await self.alerts.send_due()


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def desk(paper: Paper) -> Desk:
    return Desk(paper)


async def test_an_alert_is_sent_at_once_with_what_and_since_when(desk: Desk, paper: Paper) -> None:
    await desk.raise_("disk")
    await desk.alerts.send_due()
    assert paper.sent == [
        ("[JIT ticket] disk is wrong", "disk is wrong\nsince 2026-03-02 09:00:00Z\nbecause")
    ]


async def test_a_storm_is_one_message_a_minute(desk: Desk, paper: Paper) -> None:
    for minute in range(3):
        for number in range(100):
            await desk.raise_(f"letter {minute}-{number}", once=True)
        await desk.pass_(EVERY)
    assert len(paper.sent) == 3
    assert paper.sent[0][0] == "[JIT ticket] 100 alerts, first: letter 0-0 is wrong"
    assert paper.sent[0][1].endswith("and 50 more")


async def test_a_standing_cause_is_repeated_after_fifteen_minutes_and_not_before(
    desk: Desk, paper: Paper
) -> None:
    await desk.raise_("disk")
    await desk.alerts.send_due()
    await desk.pass_(REPEAT - SECOND)
    assert len(paper.sent) == 1
    await desk.raise_("disk", detail="still")
    await desk.pass_(SECOND)
    assert len(paper.sent) == 2
    assert paper.sent[1][1].endswith("still")


async def test_a_cleared_cause_is_told_once_to_those_who_knew(desk: Desk, paper: Paper) -> None:
    await desk.raise_("disk")
    await desk.alerts.send_due()
    await desk.alerts.clear("disk")
    await desk.alerts.clear("disk")
    await desk.pass_(REPEAT * 2)
    assert [subject for subject, _ in paper.sent] == [
        "[JIT ticket] disk is wrong",
        "[JIT ticket] cleared: disk is wrong",
    ]
    assert desk.alerts.active == []


async def test_a_cause_gone_before_anybody_was_told_is_not_told(desk: Desk, paper: Paper) -> None:
    await desk.raise_("disk")
    await desk.alerts.clear("disk")
    await desk.pass_(EVERY)
    assert paper.sent == []


async def test_a_cause_gone_while_it_was_being_told_is_told_cleared(desk: Desk, paper: Paper) -> None:
    paper.hold = asyncio.Event()
    await desk.raise_("disk")
    sending = asyncio.create_task(desk.alerts.send_due())
    await paper.entered.wait()
    await desk.alerts.clear("disk")
    paper.hold.set()
    await sending
    await desk.pass_(EVERY)
    assert paper.sent[-1][0] == "[JIT ticket] cleared: disk is wrong"


async def test_a_cause_that_comes_back_is_not_told_cleared(desk: Desk, paper: Paper) -> None:
    await desk.raise_("disk")
    await desk.alerts.send_due()
    await desk.alerts.clear("disk")
    await desk.raise_("disk")
    await desk.pass_(EVERY)
    assert [subject for subject, _ in paper.sent] == ["[JIT ticket] disk is wrong"] * 2


async def test_what_happened_once_is_told_once(desk: Desk, paper: Paper) -> None:
    await desk.raise_("letter", once=True)
    await desk.pass_(REPEAT * 2)
    assert len(paper.sent) == 1
    assert desk.alerts.active == []


async def test_one_broken_channel_does_not_keep_the_other(paper: Paper) -> None:
    broken = Paper()
    broken.broken = True
    desk = Desk(broken, paper)
    await desk.raise_("disk")
    await desk.pass_(EVERY)
    assert len(paper.sent) == 1


async def test_an_alert_nobody_took_stays_and_is_tried_again(desk: Desk, paper: Paper) -> None:
    paper.broken = True
    await desk.raise_("letter", once=True)
    await desk.pass_(EVERY * 3)
    assert [alert.key for alert in desk.alerts.active] == ["letter"]
    paper.broken = False
    await desk.pass_(EVERY)
    assert len(paper.sent) == 1
    assert desk.alerts.active == []


async def test_without_channels_the_log_is_enough() -> None:
    desk = Desk()
    await desk.raise_("letter", once=True)
    await desk.pass_(SECOND)
    assert desk.alerts.active == []


@pytest.fixture(scope="module")
def sns_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


def _queue_on(endpoint: str) -> tuple[str, Any, str]:
    """A topic, and a queue that receives what it is sent."""
    clients = {"region_name": "eu-central-1", "endpoint_url": endpoint}
    sns, sqs = boto3.client("sns", **clients), boto3.client("sqs", **clients)
    topic: str = sns.create_topic(Name="alerts")["TopicArn"]
    queue: str = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    return topic, sqs, queue


async def test_sns_receives_a_subject_it_accepts_and_a_text_that_fits(
    sns_endpoint: str, credentials: None
) -> None:
    topic, sqs, queue = await asyncio.to_thread(_queue_on, sns_endpoint)
    channel = SnsChannel(topic, endpoint=sns_endpoint)
    await channel.send("wrong\nünd läng " + "x" * 200, "zu groß " + "ß" * 200_000)
    found = await asyncio.to_thread(sqs.receive_message, QueueUrl=queue)
    (message,) = found["Messages"]
    assert message["Body"].startswith("zu groß")
    assert len(message["Body"].encode()) <= 256 * 1024


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Mailbox]:
    async with mailbox(tmp_path) as found:
        yield found


async def test_mail_reaches_every_address_and_says_it_is_automatic(box: Mailbox) -> None:
    smtp = SmtpSettings(port=box.port, sender="jit@example.com")
    await MailChannel(smtp, ["ops@example.com", "sec@example.com"]).send("two\r\nlines ü", "text ü")
    (mail,) = box.mails()
    assert mail.receipt.recipients == ("ops@example.com", "sec@example.com")
    assert mail.header("Subject") == "two lines ü"
    assert mail.header("Auto-Submitted") == "auto-generated"
    assert (mail.text or "").strip() == "text ü"


async def test_settings_make_both_channels_and_mail_goes_out_while_sns_is_away(
    box: Mailbox, credentials: None
) -> None:
    settings = ServiceSettings(
        env="development",
        database_url="postgresql://nobody@127.0.0.1:1/none",
        **key_settings("ticket"),
        alerts_topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts",
        alerts_aws_endpoint="http://127.0.0.1:1",
        alerts_mail_to=("ops@example.com",),
        smtp=SmtpSettings(port=box.port),
    )
    alerts = make_alerts("ticket", settings, ManualClock(NOW))
    await alerts.raise_alert(key="disk", summary="disk is wrong", detail="because")
    await alerts.send_due()
    (mail,) = box.mails()
    assert mail.header("Subject") == "[JIT ticket] disk is wrong"
    assert alerts.active[0].sent_at == NOW
