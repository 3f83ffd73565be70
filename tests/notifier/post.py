"""Reading what arrived: the words of a mail's two parts, and one notifier with a mailbox to send to."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from local.mailbox import Mail, Mailbox
from services.notifier.background.sending import send_due
from services.notifier.commands.notices import (
    handle_fact_about_person,
    handle_fact_by_ticket_id,
    handle_ticket_fact,
)
from services.notifier.domain.delivery import Outcome
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from shared.context import Context
from shared.contracts.event import Event
from shared.contracts.identity import IdentityFact
from shared.contracts.ticket import TicketFact
from shared.foundation.clock import EPOCH, ManualClock, new_id
from shared.runtime.service import Service
from tests.support.harness import received
from tests.support.work import deliver


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

    async def take(self, event: Event, *, event_id: str | None = None) -> str:
        """One fact, delivered twice; its id."""
        event_id = event_id or new_id()
        for _ in range(2):
            await deliver(self.service, event, event_id=event_id)
        return event_id

    async def take_together(self, facts: Sequence[Event]) -> list[str]:
        """Facts that come in one transaction, each once; the statements that it took."""
        asked: list[str] = []
        async with self.context.unit_of_work() as work:
            with work.conn.query_logger(lambda done: asked.append(done.query)):
                for fact in facts:
                    await _command_of(fact)(self.context, work, received(fact), settings=self.settings)
                await work.write_collected()
        return asked

    async def send_all(self, mailer: Mailer | None = None) -> list[Outcome]:
        """Everything that is due now."""
        outcomes: list[Outcome] = []
        while some := await send_due(self.context, mailer or self.mailer, settings=self.settings):
            outcomes += some
        return outcomes

    async def send_gathered(self) -> list[Outcome]:
        """Everything, once nothing more is waited for."""
        self.clock.advance(self.settings.mail_gather)
        return await self.send_all()

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


def _command_of(fact: Event) -> Any:
    if isinstance(fact, TicketFact):
        return handle_ticket_fact
    return handle_fact_about_person if isinstance(fact, IdentityFact) else handle_fact_by_ticket_id


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
