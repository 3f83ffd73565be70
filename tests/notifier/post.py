"""Reading what arrived: the words of a mail's two parts, and one notifier with a mailbox to send to."""

import asyncio
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from local.mailbox import Mail, Mailbox
from services.notifier.commands import notices
from services.notifier.commands.sending import send_next
from services.notifier.domain.delivery import Outcome
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.contracts.event import Event
from shared.contracts.ticket import TicketFact
from shared.foundation.clock import EPOCH, ManualClock
from shared.runtime.service import Service
from tests.support.harness import received


@dataclass
class Post:
    """One notifier at work, without its timers: tests say when something is sent."""

    service: Service
    settings: NotifierSettings
    clock: ManualClock
    box: Mailbox
    mailer: Mailer

    @property
    def context(self) -> Context:
        return self.service.context

    async def hear(self, event: Event, *, event_id: str | None = None) -> str:
        """One fact, delivered twice; its id."""
        arrived = received(event, event_id=event_id)
        command: Any = (
            notices.hear_of_ticket if isinstance(event, TicketFact) else notices.hear_of_access_or_review
        )
        for _ in range(2):
            await command(self.context, self.settings, arrived)
        return arrived.id

    async def send_all(self, mailer: Mailer | None = None) -> list[Outcome]:
        """Everything that is due now."""
        outcomes = []
        while outcome := await send_next(self.context, self.settings, mailer or self.mailer):
            outcomes.append(outcome)
        return outcomes

    def to(self, name: str) -> list[Mail]:
        return [mail for mail in self.box.mails() if f"{name}@example.com" in mail.receipt.recipients]

    async def until_sent(self, count: int) -> None:
        """Until senders in the background have sent so many."""
        async with asyncio.timeout(10):
            while (
                await self.context.pool.fetchval("SELECT count(*) FROM delivery WHERE settled_at > $1", EPOCH)
                < count
            ):
                pass

    async def rows(self, columns: str) -> list[tuple[Any, ...]]:
        found = await self.context.pool.fetch(f"SELECT {columns} FROM delivery ORDER BY id")
        return [tuple(row) for row in found]


class Page(HTMLParser):
    """An HTML part as a reader sees it, and every tag and attribute that is in it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._visible: list[str] = []
        self._hidden = 0
        self.feed(html)
        self.close()

    @property
    def words(self) -> list[str]:
        return words("".join(self._visible))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in {"style", "title"}
        self._visible.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._visible.append(data)


def words(text: str) -> list[str]:
    """Without what only plain text needs: the line under the headline and the dashes above the footer."""
    return [word for word in text.split() if not re.fullmatch(r"=+|--", word)]
