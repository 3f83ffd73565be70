"""The embedded run's checkpoint: when it is noted, what keeps it back, and what is sent again since it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.checkpoint import MARGIN, Checkpoint
from shared.contracts import topics
from shared.foundation.clock import EPOCH, ManualClock, new_id
from shared.messaging import kafka, outbox
from shared.messaging.envelope import Received, headers_for
from shared.runtime.service import Service
from tests.support.corridor import (
    create_topics,
    effect_database,
    effects,
    fact,
    kafka_settings,
    settings_for,
    tiny_service,
)
from tests.support.harness import NOW, ready_tables
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import as_bytes, signed_headers
from tests.support.units import unit
from tests.support.waiting import until

LOOK = timedelta(seconds=2)


@dataclass
class Run:
    """A ticket service at work on a mock broker, with its checkpoint on a clock of its own."""

    service: Service
    broker: Broker
    file: Path
    clock: ManualClock
    checkpoint: Checkpoint = field(init=False)

    def __post_init__(self) -> None:
        self.checkpoint = Checkpoint(self.file, [self.service])

    async def look(self) -> bool:
        self.clock.advance(LOOK)
        return await self.checkpoint.note()

    async def quiet(self) -> None:
        """Nothing waits to be sent or handled; no marker will, since nobody reads the tables here."""
        await until(lambda: self.service.problem() is None and self.service.consumer.caught_up())
        pool = self.service.context.pool
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL"))

    async def hear(self, number: int) -> None:
        """Something from approval."""
        event = fact("k", number, service="approval")
        made = headers_for(
            event_id=new_id(), type_name=event.TYPE, subject="k", source="approval", time=event.at
        )
        async with kafka.producer(kafka_settings(self.broker), client_id="approval") as producer:
            value = event.model_dump_json().encode()
            sent = signed_headers(as_bytes(made.items()), topic=topics.APPROVAL, key=None, value=value)
            await producer.send_and_wait(topics.APPROVAL, value, partition=0, headers=sent)

    async def sent(self, *hours: int) -> None:
        """Facts of so many hours ago that the broker once had."""
        pool = self.service.context.pool
        async with unit(pool) as work:
            for ago in hours:
                outbox.append(work, "ticket", fact("k", ago, at=NOW - timedelta(hours=ago)))
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL"))


@dataclass
class Bug:
    """In a handler, until it is mended."""

    there: bool = False
    tries: int = 0

    async def __call__(self, _received: Received[Any]) -> None:
        if self.there:
            self.tries += 1
            raise RuntimeError("a bug in a handler")


@pytest.fixture
def bug() -> Bug:
    return Bug()


@pytest.fixture
async def run(admin_dsn: str, tmp_path: Path, bug: Bug) -> AsyncIterator[Run]:
    async with effect_database(admin_dsn, "ticket") as dsn:
        with embedded_kafka() as mock:
            broker = Broker(mock.bootstrap, mock)
            await create_topics(broker)
            service, _ = tiny_service(
                "ticket",
                settings_for(dsn, broker),
                hears=topics.APPROVAL,
                tables=ready_tables(ManualClock(NOW)),
                before=bug,
            )
            clock = service.context.clock = ManualClock(NOW)
            await service.start()
            try:
                found = Run(service, broker, tmp_path / "checkpoint.json", clock)
                await found.quiet()
                yield found
            finally:
                await service.stop()


async def test_note_of_two_quiet_looks_is_the_moment_of_the_first(run: Run) -> None:
    assert run.checkpoint.read() == EPOCH
    assert not await run.look()
    assert await run.look()
    assert run.checkpoint.read() == NOW + LOOK - MARGIN
    assert await run.look()
    assert Checkpoint(run.file, []).read() == NOW + 2 * LOOK - MARGIN


async def test_note_of_a_look_that_follows_at_once_says_nothing(run: Run) -> None:
    assert not await run.look()
    assert not await run.checkpoint.note()
    assert await run.look()
    assert run.checkpoint.read() == NOW + LOOK - MARGIN


async def test_note_while_an_event_fails_is_kept_back_until_it_is_handled(run: Run, bug: Bug) -> None:
    assert not await run.look()
    assert await run.look()
    noted = run.checkpoint.read()
    bug.there = True
    await run.hear(1)
    await until(lambda: bug.tries >= 4)
    for _ in range(3):
        assert not await run.look()
    assert run.checkpoint.read() == noted
    bug.there = False
    await run.quiet()
    assert await effects(run.service.context.pool) == [("k", 1)]
    assert not await run.look()
    assert await run.look()
    assert run.checkpoint.read() > noted


async def test_note_while_something_is_unsent_is_kept_back(run: Run) -> None:
    assert run.broker.mock is not None
    run.broker.mock.set_down()
    async with unit(run.service.context.pool) as work:
        outbox.append(work, "ticket", fact("k", 1))
    for _ in range(3):
        assert not await run.look()
    assert run.checkpoint.read() == EPOCH
    run.broker.mock.set_up()


async def test_replay_sends_again_what_is_newer_than_the_checkpoint(run: Run) -> None:
    await run.sent(5, 3, 1)
    assert await _sent_again(run) == [5, 3, 1]  # nothing was noted yet: everything
    run.file.write_text(f'{{"at": "{(NOW - timedelta(hours=4)).isoformat()}"}}')
    assert await _sent_again(run) == [3, 1]


async def _sent_again(run: Run) -> list[int]:
    """How many hours ago the facts were said that a replay sends once more; markers come and go."""
    before = await _sendings(run)
    assert await run.checkpoint.replay() > 0
    await run.sent()
    return [ago for ago, sent_at in (await _sendings(run)).items() if sent_at > before[ago]]


async def _sendings(run: Run) -> dict[int, datetime]:
    rows = await run.service.context.pool.fetch(
        "SELECT created_at, sent_at FROM outbox WHERE topic = $1 ORDER BY id", topics.TICKET
    )
    return {(NOW - row["created_at"]) // timedelta(hours=1): row["sent_at"] for row in rows}
