"""The real broker that tests and benches start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.kafka_server import KafkaServer, KafkaServerUnavailable, kafka_libraries, real_kafka
from tests.support.servers import Broker

pytestmark = pytest.mark.messaging


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    try:
        kafka_libraries()
    except KafkaServerUnavailable as missing:
        pytest.skip(str(missing))
    with real_kafka() as running:
        yield running


async def test_messages_and_topics_survive_kill_9_and_restart(server: KafkaServer) -> None:
    broker = Broker(server.bootstrap)
    await broker.create_topics({"facts": 3})
    await broker.create_topics({"facts": 3})
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, enable_idempotence=True) as producer:
        assert await producer.partitions_for("facts") == {0, 1, 2}
        await producer.send_and_wait("facts", b"before", key=b"k")
        address = server.bootstrap
        server.restart()
        assert server.bootstrap == address
        await producer.send_and_wait("facts", b"after", key=b"k")
    async with AIOKafkaConsumer(
        "facts", bootstrap_servers=server.bootstrap, group_id="readers", auto_offset_reset="earliest"
    ) as reader:
        assert [(await reader.getone()).value, (await reader.getone()).value] == [b"before", b"after"]


def test_libraries_named_but_absent_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIT_KAFKA_LIBS", str(tmp_path))
    with pytest.raises(KafkaServerUnavailable, match="JIT_KAFKA_LIBS"):
        kafka_libraries()
