"""How long a fact takes from its commit in one service to the commit it causes in the next; one JSON line.

Both services are the factory's, in this process; the broker is the one JIT_TEST_KAFKA names, else a real one
where Java is, else the mock cluster (which proves nothing about Kafka; the line says which it was).
`python -m bench.hop [--rate 50] [--seconds 20]`
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from shared.context import Context
from shared.contracts import topics
from shared.contracts.configuration import ConfigurationFact
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import Clock, ManualClock
from shared.messaging import outbox
from shared.messaging.envelope import Received
from shared.messaging.subscription import Subscription
from shared.observability import logs
from shared.runtime.service import Parts, Process, Service
from tests.support.corridor import (
    ACCOUNT_FACTS,
    Note,
    create_topics,
    effect_database,
    effects,
    fact,
    settings_for,
    unique,
)
from tests.support.harness import NOW, ready_tables
from tests.support.kafka_server import KafkaServerUnavailable, real_kafka
from tests.support.servers import Broker, broker, embedded_postgres
from tests.support.signing import key_settings
from tests.support.waiting import until

WARM_UP = 50
KEYS = 20
TARGET_P50_MS = 15.0
TARGET_P99_MS = 60.0


class Stopwatch:
    """When each numbered fact was committed on either side, by this machine's monotonic clock."""

    def __init__(self) -> None:
        self.committed: dict[int, float] = {}
        self.handled: dict[int, float] = {}

    def subscriptions(self, context: Context) -> list[Subscription]:
        note = Note(context, answers=False)

        async def handle(work: UnitOfWork, received: Received[ConfigurationFact]) -> None:
            await note(work, received)
            number = received.event.revision
            work.after_commit(partial(self._note, number))

        return [Subscription(topics.TICKET, {ACCOUNT_FACTS.changed: handle})]

    def _note(self, number: int) -> None:
        self.handled.setdefault(number, time.perf_counter())

    def hops_ms(self) -> list[float]:
        """Sorted, without the first ones, which meet cold connections and caches."""
        numbers = sorted(self.committed)[WARM_UP:]
        return sorted(1000 * (self.handled[number] - self.committed[number]) for number in numbers)


@contextmanager
def a_broker() -> Iterator[tuple[str, Broker]]:
    """The broker, and what to call it."""
    if not os.environ.get("JIT_TEST_KAFKA"):
        with contextlib.suppress(KafkaServerUnavailable), real_kafka() as server:
            yield "kafka", Broker(server.bootstrap)
            return
    with broker() as found:
        yield ("mock" if found.mock else "kafka"), found


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    for service in services:
        await service.start()
    try:
        for service in services:
            await until(partial(_is_up, service), 60, what=f"{service.name} is up")
        yield
    finally:
        for service in services:
            await service.stop()


def _is_up(service: Service) -> bool:
    return service.problem() is None


async def measure(admin_dsn: str, found: Broker, *, rate: float, seconds: float) -> Stopwatch:
    watch = Stopwatch()
    tables = ready_tables(ManualClock(NOW))
    await create_topics(found)
    async with (
        effect_database(admin_dsn, "ticket") as ticket_dsn,
        effect_database(admin_dsn, "approval") as approval_dsn,
    ):
        ticket = Service("ticket", settings_for(ticket_dsn, found), Parts(), process=Process(Clock(), tables))
        parts = Parts(subscriptions=watch.subscriptions)
        settings = settings_for(approval_dsn, found, **key_settings("approval"))
        approval = Service("approval", settings, parts, process=Process(Clock(), tables))
        async with running(ticket, approval):
            count = WARM_UP + int(rate * seconds)
            await publish_at(ticket, watch, rate=rate, count=count)
            await until(lambda: len(watch.handled) == count, 60, what="everything was handled")
            assert len(await effects(approval.context.pool)) == count, "each fact has one effect"  # noqa: S101 (a bench that judges)
    return watch


async def publish_at(service: Service, watch: Stopwatch, *, rate: float, count: int) -> None:
    """At fixed moments, so that a slow hop does not slow the next fact down."""
    loop = asyncio.get_running_loop()
    prefix, started = unique("k"), loop.time()
    async with asyncio.TaskGroup() as publishing:
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
            publishing.create_task(publish_one(service, watch, f"{prefix}-{number % KEYS}", number))


async def publish_one(service: Service, watch: Stopwatch, key: str, number: int) -> None:
    async with service.context.unit_of_work() as work:
        outbox.append(work, "ticket", fact(key, number))
    watch.committed[number] = time.perf_counter()


def summary(hops: list[float], *, name: str, rate: float) -> dict[str, object]:
    p50, p99 = statistics.median(hops), hops[int(0.99 * len(hops))]
    return {
        "bench": "hop",
        "broker": name,
        "rate_per_s": rate,
        "count": len(hops),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(hops[-1], 2),
        "target_p50_ms": TARGET_P50_MS,
        "target_p99_ms": TARGET_P99_MS,
        "holds": p50 <= TARGET_P50_MS and p99 <= TARGET_P99_MS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hop", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="facts per second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    with embedded_postgres() as postgres, a_broker() as (name, found):
        watch = asyncio.run(measure(postgres.admin_dsn, found, rate=options.rate, seconds=options.seconds))
    print(json.dumps(summary(watch.hops_ms(), name=name, rate=options.rate)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
