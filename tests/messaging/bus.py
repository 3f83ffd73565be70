"""Two services on a broker that can be taken away, and the judgement: nothing lost, doubled or reordered."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg

from shared.contracts import topics
from shared.database.pool import Pool, create_pool
from shared.foundation.clock import ManualClock
from shared.messaging.envelope import Received
from shared.runtime.service import Service
from tests.support.corridor import create_topics, say, settings_for, tiny_service, unique
from tests.support.harness import NOW, ready_tables
from tests.support.kafka_server import KafkaServer, KafkaServerUnavailable, real_kafka
from tests.support.servers import Broker, broker
from tests.support.waiting import until

PATIENCE_S = 60.0
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection that is cut at any moment raises."""
Before = Callable[[Received[Any]], Awaitable[None]]


@dataclass
class Bus:
    """A broker of one's own: `down` is kill -9 on a real one and a cut cluster on the mock."""

    broker: Broker
    server: KafkaServer | None = None

    @property
    def can_go_down(self) -> bool:
        return self.broker.mock is not None or self.server is not None

    async def down(self) -> None:
        if self.broker.mock is not None:
            self.broker.mock.set_down()
        elif self.server is not None:
            await asyncio.to_thread(self.server.kill)

    async def up(self) -> None:
        if self.broker.mock is not None:
            self.broker.mock.set_up()
        elif self.server is not None:
            await asyncio.to_thread(self.server.start)


@contextmanager
def bus() -> Iterator[Bus]:
    """The mock cluster, or where the environment names a real broker, a real one that may be killed."""
    if not os.environ.get("JIT_TEST_KAFKA"):
        with broker() as found:
            yield Bus(found)
        return
    try:
        with real_kafka() as server:
            yield Bus(Broker(server.bootstrap), server)
    except KafkaServerUnavailable:
        with broker() as found:
            yield Bus(found)


@dataclass
class Databases:
    """Of the two services: the app roles' DSNs, pools for looking, and the administrator's DSN."""

    admin_dsn: str
    ticket: str
    approval: str

    async def kill_everybody(self) -> None:
        """Cut every connection to both databases, those of relays among them."""
        conn = await asyncpg.connect(self.admin_dsn)
        names = [dsn.rsplit("/", 1)[1] for dsn in (self.ticket, self.approval)]
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1)", names
        )
        await conn.close()


@dataclass
class Corridor:
    """ticket says, approval notes and answers, ticket notes the answer."""

    bus: Bus
    databases: Databases
    stack: AsyncExitStack
    prefix: str = field(default_factory=lambda: unique("k"))
    said: dict[str, int] = field(default_factory=dict)

    async def start(self, name: str, *, hears: bool = True, before: Before | None = None) -> Service:
        """Another instance of a service; `hears=False` makes one that has a relay only."""
        dsn = self.databases.ticket if name == "ticket" else self.databases.approval
        topic = topics.APPROVAL if name == "ticket" else topics.TICKET
        service, _ = tiny_service(
            name,
            settings_for(dsn, self.bus.broker),
            hears=topic if hears else None,
            answers=name == "approval",
            tables=ready_tables(ManualClock(NOW)),
            before=before,
        )
        await service.start()
        self.stack.push_async_callback(service.stop)
        await until(lambda: service.problem() is None, PATIENCE_S, what=f"{name} is up")
        return service

    async def talk(self, *, keys: int = 6, numbers: int = 20) -> None:
        """Say facts one commit after the other; survives losing the database, and knows what committed."""
        pool = await create_pool(self.databases.ticket, size=2)
        try:
            for _ in range(numbers):
                for index in range(keys):
                    key = f"{self.prefix}-{index}"
                    number = self.said.get(key, 0)
                    await _publish_surely(pool, key, number)
                    self.said[key] = number + 1
        finally:
            await pool.close()

    async def handled(self, name: str) -> dict[str, list[int]]:
        """What a service noted of this corridor's keys, in its order."""
        dsn = self.databases.ticket if name == "ticket" else self.databases.approval
        conn = await asyncpg.connect(dsn)
        try:
            rows = await conn.fetch(
                "SELECT key, number FROM effect WHERE starts_with(key, $1) ORDER BY id", self.prefix
            )
        finally:
            await conn.close()
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(row["key"], []).append(row["number"])
        return found

    async def settle(self) -> None:
        """Wait until both ends handled what was published, then judge: once each, in order of each key."""
        total = sum(self.said.values())
        assert total, "nothing was said"
        for name in ("approval", "ticket"):
            await until(partial(self._at_least, name, total), PATIENCE_S, what=f"{name} handled all")
        expected = {key: list(range(count)) for key, count in self.said.items()}
        assert await self.handled("approval") == expected
        assert await self.handled("ticket") == expected

    async def _at_least(self, name: str, total: int) -> bool:
        try:
            return sum(len(numbers) for numbers in (await self.handled(name)).values()) >= total
        except _LOST:
            return False


async def _publish_surely(pool: Pool, key: str, number: int) -> None:
    """Commit a fact although the connection may be lost at any moment, its commit's answer included."""
    while True:
        try:
            found = await pool.fetchval(
                "SELECT count(*) FROM outbox WHERE key = $1 AND (convert_from(payload, 'UTF8')::jsonb"
                "->>'revision')::int = $2",
                key,
                number,
            )
            if not found:
                await say(pool, "ticket", key, number)
        except _LOST:
            continue
        return


@asynccontextmanager
async def corridor(found: Bus, databases: Databases) -> AsyncIterator[Corridor]:
    """No service runs yet; those that are started stop with the block, the last one first."""
    await create_topics(found.broker)
    async with AsyncExitStack() as stack:
        yield Corridor(found, databases, stack)
