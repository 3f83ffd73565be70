"""docs/consumer.py as a stranger runs it: a process of its own, on a topic it did not write."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.audit.domain.mapping import translate
from shared.foundation.clock import new_id
from tests.support.audit_log import PRODUCT
from tests.support.facts import contract_events, example
from tests.support.harness import NOW
from tests.support.ocsf import schema_folder
from tests.support.servers import Broker, broker

SCRIPT = Path(__file__).parents[2] / "docs" / "consumer.py"


def stream(*sequences: int) -> list[dict[str, Any]]:
    """Records of one event type after the other, under these numbers."""
    classes = contract_events()
    return [
        json.loads(
            translate(
                example(classes[n % len(classes)]), event_id=new_id(), source="ticket", product=PRODUCT
            ).to_bytes(n, NOW)
        )
        for n in sequences
    ]


@dataclass
class Run:
    status: int
    lines: list[str]
    said: str


@dataclass
class Stranger:
    """A topic, and the script that reads it."""

    broker: Broker
    topic: str
    producer: AIOKafkaProducer

    async def send(self, *events: object) -> None:
        for event in events:
            value = event if isinstance(event, bytes) else json.dumps(event).encode()
            await self.producer.send_and_wait(self.topic, value)

    async def run(self, *options: str) -> Run:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), "--bootstrap", self.broker.bootstrap, "--topic", self.topic,
            "--timeout", "1", *options,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return Run(process.returncode or 0, out.decode().splitlines(), err.decode())


@pytest.fixture(scope="module")
def kafka() -> Iterator[Broker]:
    with broker() as running:
        yield running


@pytest.fixture
async def stranger(kafka: Broker) -> AsyncIterator[Stranger]:
    topic = f"audit-{new_id()}"
    await kafka.create_topics({topic: 3})
    producer = AIOKafkaProducer(bootstrap_servers=kafka.servers)
    await producer.start()
    yield Stranger(kafka, topic, producer)
    await producer.stop()


async def test_read_every_event_type_twice_and_out_of_order_is_fine(stranger: Stranger) -> None:
    events = stream(*range(1, len(contract_events()) + 1))
    await stranger.send(*reversed(events), *events)
    run = await stranger.run("--schemas", str(schema_folder()))
    assert (run.status, len(run.lines)) == (0, len(events)), run.said


async def test_read_topic_with_a_missing_number_ends_with_one(stranger: Stranger) -> None:
    await stranger.send(*stream(1, 2, 4, 5))
    run = await stranger.run()
    assert (run.status, run.said.strip()) == (1, "GAP: sequence 3 is missing")


async def test_read_event_its_schema_refuses_ends_with_one(stranger: Stranger) -> None:
    (event,) = stream(1)
    await stranger.send({**event, "jit": "unknown attribute"})
    run = await stranger.run("--schemas", str(schema_folder()))
    assert run.status == 1
    assert run.said.startswith("INVALID partition ")
    assert (await stranger.run()).status == 0, "without schemas only base fields are checked"


@pytest.mark.parametrize("value", [b"not json", b"[]", b"{}", b'{"metadata": 1}'], ids=str)
async def test_read_value_without_base_fields_ends_with_one(stranger: Stranger, value: bytes) -> None:
    await stranger.send(value)
    assert (await stranger.run()).status == 1


async def test_read_at_most_so_many_stops_there(stranger: Stranger) -> None:
    await stranger.send(*stream(1, 2, 3))
    run = await stranger.run("--max", "2")
    assert (run.status, len(run.lines)) == (0, 2), run.said


async def test_read_exactly_all_there_are_still_finds_the_gap(stranger: Stranger) -> None:
    await stranger.send(*stream(1, 3))
    assert (await stranger.run("--max", "2")).status == 1
