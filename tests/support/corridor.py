"""Two tiny services out of the factory, for what is true of every service: the road between them.

`ticket` says numbered facts about keys; `approval` notes each once and answers with a fact of its own,
which `ticket` notes in turn. The effect is a row in a table of theirs, so losses, doubles and order show.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from shared.context import Context
from shared.contracts import topics
from shared.contracts.configuration import ConfigurationFact, facts_of
from shared.contracts.documents import ApprovalRule, RegisteredAccount
from shared.contracts.event import Actor
from shared.database.pool import Conn, Pool
from shared.database.unit_of_work import UnitOfWork
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings, ServiceSettings
from shared.messaging import outbox
from shared.messaging.envelope import Received
from shared.messaging.subscription import Subscription
from shared.runtime.service import Parts, Process, Service
from tests.support.harness import service_database
from tests.support.servers import Broker
from tests.support.signing import key_settings
from tests.support.units import unit

RULE_FACTS = facts_of(ApprovalRule)
ACCOUNT_FACTS = facts_of(RegisteredAccount)

_EFFECT = """
    CREATE TABLE effect (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL, number integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    GRANT SELECT, INSERT ON effect TO {app};
"""


SAYS = {"ticket": ACCOUNT_FACTS.changed, "approval": RULE_FACTS.changed}
"""What each of the two says: a fact of its own topic."""


def fact(
    key: str,
    number: int,
    *,
    at: datetime = datetime(2026, 3, 2, tzinfo=UTC),
    service: str = "ticket",
) -> ConfigurationFact:
    """The `number`th fact about `key`, as `service` says it."""
    return SAYS[service](
        subject=key, actor=Actor.service("test"), at=at, document=f"account/{key}", revision=number
    )


async def say(pool: Pool, service: str, key: str, number: int) -> None:
    """Commit one fact, as a command would."""
    async with unit(pool) as work:
        outbox.append(work, service, fact(key, number, service=service))


@dataclass
class Note:
    """A command: note the fact in `effect`, once, and say `answer` (if any) about it."""

    context: Context
    answers: bool
    before: Callable[[Received[Any]], Awaitable[None]] | None = None
    seen: list[tuple[str, int]] = field(default_factory=list)
    """What it was called with, whether or not that committed."""

    async def __call__(self, work: UnitOfWork, received: Received[Any]) -> None:
        event = received.event
        self.seen.append((event.subject, event.revision))
        if self.before is not None:
            await self.before(received)
        await work.conn.execute(
            "INSERT INTO effect (key, number) VALUES ($1, $2)", event.subject, event.revision
        )
        if self.answers:
            service = self.context.service
            outbox.append(work, service, fact(event.subject, event.revision, service=service))


async def effects(pool: Pool | Conn) -> list[tuple[str, int]]:
    """What was noted, in the order of noting."""
    rows = await pool.fetch("SELECT key, number FROM effect ORDER BY id")
    return [(row["key"], row["number"]) for row in rows]


@asynccontextmanager
async def effect_database(admin_dsn: str, service: str) -> AsyncIterator[str]:
    """A database of `service` with the table of effects; the DSN is its app role's."""
    async with service_database(admin_dsn, service) as dsn:
        parts = urlsplit(dsn)
        conn = await asyncpg.connect(admin_dsn, database=parts.path.removeprefix("/"))
        try:
            await conn.execute(_EFFECT.format(app=parts.username))
        finally:
            await conn.close()
        yield dsn


def kafka_settings(broker: Broker) -> KafkaSettings:
    """Short waits on the mock, which neither wakes a waiting fetch nor lets a group rejoin quickly."""
    return KafkaSettings(
        bootstrap=tuple(broker.servers),
        fetch_wait_ms=20 if broker.mock else 500,
        session_timeout_ms=2000 if broker.mock else 6000,
    )


def settings_for(dsn: str, broker: Broker | None = None, **more: Any) -> ServiceSettings:
    given: dict[str, Any] = {"env": "development", "database_url": dsn, **key_settings("ticket"), **more}
    if broker is not None:
        given["kafka"] = kafka_settings(broker)
    return ServiceSettings(**given)


async def create_topics(broker: Broker) -> None:
    """The project's topics with their real partitions; those that exist stay."""
    await broker.create_topics({topic.name: topic.partitions for topic in topics.TOPICS.values()})


def tiny_service(
    name: str,
    settings: ServiceSettings,
    *,
    hears: str | None,
    answers: bool = False,
    tables: Tables | None = None,
    before: Callable[[Received[Any]], Awaitable[None]] | None = None,
) -> tuple[Service, list[Note]]:
    """A service that notes the facts of the topic `hears`; its note is made with the service."""
    notes: list[Note] = []

    def subscriptions(context: Context) -> Sequence[Subscription]:
        if hears is None:
            return []
        note = Note(context, answers, before)
        notes.append(note)
        return [Subscription(hears, dict.fromkeys(SAYS.values(), note))]

    settings = settings.model_copy(update=key_settings(name))
    service = Service(name, settings, Parts(subscriptions=subscriptions), process=Process(Clock(), tables))
    return service, notes


def unique(word: str) -> str:
    """A name no other test uses."""
    return f"{word}-{secrets.token_hex(4)}"
