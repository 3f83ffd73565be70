"""The factory: what a service does while its servers are absent, lost and back, and how it stops."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx2
import pytest

from shared.context import Context
from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule
from shared.database.migrate import migrate_database
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import Clock, ManualClock
from shared.messaging import outbox
from shared.messaging.envelope import Received
from shared.messaging.subscription import Subscription
from shared.runtime.service import Parts, Process, Service
from tests.support import organisation
from tests.support.corridor import Note, create_topics, effects, fact, settings_for, tiny_service
from tests.support.harness import NOW, ready_tables
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import signer
from tests.support.units import unit
from tests.support.waiting import until

RULE_FACTS = facts_of(ApprovalRule)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    with embedded_kafka() as mock:
        found = Broker(mock.bootstrap, mock)
        await create_topics(found)
        yield found


@asynccontextmanager
async def started(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    await service.start()
    try:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=service.app), base_url="http://jit.test"
        ) as client:
            yield client
    finally:
        async with asyncio.timeout(20):
            await service.stop()


def ready_service(dsn: str, broker: Broker) -> tuple[Service, list[Note]]:
    """A ticket service that hears approval, with tables that are ready."""
    service, notes = tiny_service(
        "ticket", settings_for(dsn, broker), hears=topics.APPROVAL, tables=ready_tables(ManualClock(NOW))
    )
    return speaking_for_approval(service), notes


def speaking_for_approval(service: Service) -> Service:
    """Its relay sends what approval says (`_answer`), with approval's key."""
    service.relay._signer = signer("approval")
    return service


async def up(service: Service) -> None:
    await until(lambda: service.problem() is None)


async def test_a_service_comes_up_and_says_so(dsn: str, broker: Broker) -> None:
    service, _ = ready_service(dsn, broker)
    assert service.problem() == "starting"
    async with started(service) as client:
        await up(service)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "ready", "service": "ticket", "waits_for": None},
        )
    assert service.problem() == "stopping"


async def test_an_absent_database_is_waited_for_and_http_answers(
    admin_dsn: str, dsn: str, broker: Broker
) -> None:
    name = f"jit_ticket_{secrets.token_hex(6)}"
    service, _ = ready_service(urlsplit(dsn)._replace(path=f"/{name}").geturl(), broker)
    try:
        async with started(service) as client:
            await until(lambda: "InvalidCatalogNameError" in (service.problem() or ""))
            assert (await client.get("/livez")).status_code == 200
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["waits_for"] == "waiting for the database: InvalidCatalogNameError"
            await migrate_database(admin_dsn, "ticket", database=name, password=None)
            await up(service)
            assert (await client.get("/readyz")).status_code == 200
    finally:
        conn = await asyncpg.connect(admin_dsn)
        await conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await conn.close()


async def test_a_database_without_the_migrations_is_waited_for(
    admin_dsn: str, dsn: str, broker: Broker
) -> None:
    name = f"jit_ticket_{secrets.token_hex(6)}"
    conn = await asyncpg.connect(admin_dsn)
    await conn.execute(f"CREATE DATABASE {name}")
    service, _ = ready_service(urlsplit(dsn)._replace(path=f"/{name}").geturl(), broker)
    try:
        async with started(service):
            await until(lambda: service.problem() == "waiting for the database: UndefinedTableError")
    finally:
        await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await conn.close()


async def test_an_absent_broker_is_waited_for(dsn: str, pool: Pool, broker: Broker) -> None:
    assert broker.mock is not None
    broker.mock.set_down()
    service, _ = ready_service(dsn, broker)
    async with started(service) as client:
        await until(lambda: "waiting for the broker: " in (service.problem() or ""))
        assert (await client.get("/readyz")).status_code == 503
        broker.mock.set_up()
        await up(service)


async def test_a_lost_broker_comes_back_and_nothing_is_lost(
    admin_dsn: str, dsn: str, pool: Pool, broker: Broker
) -> None:
    assert broker.mock is not None
    service, (note,) = ready_service(dsn, broker)
    async with started(service):
        await up(service)
        for number in range(3):
            if number == 1:
                broker.mock.set_down()
            await _answer(pool, number)
        broker.mock.set_up()
        await until(lambda: _numbers(pool, 3))
    assert sorted(set(note.seen)) == [("k", 0), ("k", 1), ("k", 2)]


async def _answer(pool: Pool, number: int) -> None:
    """A fact on the approval topic, which this database's own relay sends."""
    async with unit(pool) as work:
        outbox.append(work, "approval", fact("k", number, service="approval"))


async def _numbers(pool: Pool, count: int) -> bool:
    return [number for _, number in await effects(pool)] == list(range(count))


async def test_readyz_knows_a_consumer_without_partitions_and_a_relay_without_its_lock(
    dsn: str, broker: Broker
) -> None:
    service, _ = ready_service(dsn, broker)
    async with started(service):
        await up(service)
        service.relay.state = "down"
        assert service.problem() == "the relay neither holds its lock nor waits for it"
        service.relay.state = "standby"
        assert service.problem() is None
        (task,) = service.consumer._subscriber.tasks
        task.cancel()
        await until(lambda: service.problem() == "no partitions of jit.approval.v1 are assigned")


async def test_readyz_waits_for_the_tables(dsn: str, broker: Broker) -> None:
    service, _ = tiny_service("ticket", settings_for(dsn, broker), hears=topics.APPROVAL)
    async with started(service) as client:
        await until(lambda: service.problem() == "tables: waiting for approval, provisioner")
        assert (await client.get("/readyz")).json()[
            "waits_for"
        ] == "tables: waiting for approval, provisioner"


async def test_readyz_waits_for_the_first_reading_of_the_directory(dsn: str, broker: Broker) -> None:
    """An inventory that is completely read and empty knows nobody: everybody would be a stranger."""
    clock = ManualClock(NOW)
    nobody = ready_tables(clock, {**organisation.everything(), "provisioner": []})
    service, _ = tiny_service("ticket", settings_for(dsn, broker), hears=topics.APPROVAL, tables=nobody)
    async with started(service) as client:
        await until(lambda: "first reading" in (service.problem() or ""))
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert (
        answer.json()["waits_for"] == "tables: waiting for the first reading of accounts and people from AWS"
    )


async def test_a_stop_while_waiting_is_quick(dsn: str) -> None:
    service, _ = ready_service(dsn.replace("/jit_", "/nothing_"), Broker("127.0.0.1:1"))
    async with asyncio.timeout(3), started(service):
        await until(lambda: "waiting for the database: " in (service.problem() or ""))


class Order:
    """A service whose parts note when they end."""

    def __init__(self, dsn: str, broker: Broker) -> None:
        self.said: list[str] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        parts = Parts(subscriptions=self._subscriptions, background=self._background, closing=self._closing)
        self.service = Service(
            "ticket",
            settings_for(dsn, broker),
            parts,
            process=Process(Clock(), ready_tables(ManualClock(NOW))),
        )
        speaking_for_approval(self.service)

    def _subscriptions(self, _context: Context) -> list[Subscription]:
        return [Subscription(topics.APPROVAL, {RULE_FACTS.changed: self._handle})]

    def _background(self, _context: Context) -> list[Any]:
        return [("work", self._work)]

    async def _handle(self, _unit: UnitOfWork, _received: Received[RULE_FACTS.changed]) -> None:
        self.entered.set()
        await self.go_on.wait()
        self.said.append("handler" if self.service.context.has_pool else "handler without a database")

    async def _work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.said.append("background")

    async def _closing(self) -> None:
        self.said.append("closing" if self.service.context.has_pool else "closing without a database")


async def test_a_stop_lets_the_handler_finish_then_the_rest_in_order(
    dsn: str, pool: Pool, broker: Broker
) -> None:
    order = Order(dsn, broker)
    async with started(order.service):
        await up(order.service)
        await _answer(pool, 0)
        await order.entered.wait()
        stopping = asyncio.create_task(order.service.stop())
        await until(lambda: order.service.problem() == "stopping")
        assert order.said == []
        order.go_on.set()
        await stopping
        assert order.said == ["handler", "background", "closing"]
        assert not order.service.context.has_pool


async def test_a_stop_cuts_a_handler_that_does_not_end(
    dsn: str, pool: Pool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.service.FINISH_WITHIN_S", 0.3)
    order = Order(dsn, broker)
    async with asyncio.timeout(20), started(order.service):
        await up(order.service)
        await _answer(pool, 0)
        await order.entered.wait()
        await order.service.stop()
    assert order.said[:2] == ["background", "closing"]
    assert order.service.consumer._client is None, "it has left its group"


async def test_a_background_task_that_fails_is_loud_started_again_and_cleared(
    dsn: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.service.SETTLED_AFTER_S", 0.05)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("no")
        await asyncio.Event().wait()

    parts = Parts(background=lambda _context: [("work", work)])
    process = Process(Clock(), ready_tables(ManualClock(NOW)))
    service = Service("ticket", settings_for(dsn, broker), parts, process=process)
    async with started(service):
        await until(lambda: [alert.key for alert in service.context.alerts.active] == ["task/work"])
        await until(lambda: runs == 2)
        await until(lambda: "task/work" not in [alert.key for alert in service.context.alerts.active])


async def test_a_bug_while_starting_is_not_silent(dsn: str, broker: Broker) -> None:
    def background(_context: Context) -> list[Any]:
        raise KeyError("no")

    # With tables of somebody else's: a reader of its own would be cut while it still connects.
    process = Process(Clock(), ready_tables(ManualClock(NOW)))
    service = Service("ticket", settings_for(dsn, broker), Parts(background=background), process=process)
    async with started(service):
        await until(lambda: service.problem() == "cannot start, this is a bug: KeyError")
        await until(lambda: "start" in [alert.key for alert in service.context.alerts.active])


async def test_before_the_database_is_there_routes_are_not_ready(dsn: str) -> None:
    service, _ = ready_service(dsn, Broker("127.0.0.1:1"))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=service.app), base_url="http://jit.test"
    ) as client:
        assert (await client.get("/livez")).json() == {"status": "alive", "service": "ticket"}
        assert (await client.get("/readyz")).json()["waits_for"] == "starting"
        assert (await client.get("/v1/ops/ticket/alerts")).status_code == 401
