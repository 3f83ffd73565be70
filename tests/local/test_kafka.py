"""The mock cluster as an aiokafka client sees it."""

import asyncio
import importlib.util
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from local.kafka import KafkaUnavailable, MockKafka, delayed_group_leader, mock_kafka

_PRODUCE = 0
_MESSAGE_TOO_LARGE = 10


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with mock_kafka({"facts": 3}) as running:
        yield running


def consumer(cluster: MockKafka, group: str | None = "readers") -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        "facts",
        bootstrap_servers=cluster.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        session_timeout_ms=2000,  # less a second, the wait of whoever joins a used group
        heartbeat_interval_ms=300,
    )


async def test_produce_and_consume_keeps_partitions_keys_and_commits(cluster: MockKafka) -> None:
    async with (
        AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, enable_idempotence=True) as producer,
        consumer(cluster) as reader,
    ):
        assert await producer.partitions_for("facts") == {0, 1, 2}
        await producer.send_and_wait("facts", b"first", key=b"k")
        message = await reader.getone()
        assert (message.key, message.value) == (b"k", b"first")
        await reader.commit()
        await reader.stop()
        await producer.send_and_wait("facts", b"second", key=b"k")
        async with consumer(cluster) as resumed:
            assert (await resumed.getone()).value == b"second"


async def test_a_send_during_an_outage_waits_and_arrives_after_it(cluster: MockKafka) -> None:
    # Without a group: the mock's groups do not always survive an outage, and what is tested is the send.
    async with (
        AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, enable_idempotence=True) as producer,
        consumer(cluster, None) as reader,
    ):
        await producer.send_and_wait("facts", b"before")
        assert (await reader.getone()).value == b"before"
        cluster.set_down()
        sending = asyncio.create_task(producer.send_and_wait("facts", b"during"))
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done
        cluster.set_up()
        await sending
        assert (await reader.getone()).value == b"during"


async def test_pushed_errors_reach_the_producer_and_end(cluster: MockKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
        cluster.push_request_errors(_PRODUCE, [_MESSAGE_TOO_LARGE])
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait("facts", b"big")
        await producer.send_and_wait("facts", b"small")


async def test_two_members_share_a_group_when_the_leader_is_delayed(cluster: MockKafka) -> None:
    first, second = consumer(cluster, "shared"), consumer(cluster, "shared")
    with delayed_group_leader():
        await asyncio.gather(first.start(), second.start())
        try:
            await asyncio.gather(first.getmany(timeout_ms=0), second.getmany(timeout_ms=0))
            assert len(first.assignment() | second.assignment()) == 3
            assert not first.assignment() & second.assignment()
        finally:
            await asyncio.gather(first.stop(), second.stop())


async def test_create_topics_twice_changes_nothing_and_stop_forgets(cluster: MockKafka) -> None:
    cluster.create_topics({"facts": 9})
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
        assert await producer.partitions_for("facts") == {0, 1, 2}
    cluster.stop()
    with pytest.raises(KafkaUnavailable, match="start it first"):
        cluster.create_topics({"facts": 1})
    cluster.start()
    cluster.create_topics({"facts": 1})
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
        assert await producer.partitions_for("facts") == {0}


def test_without_a_wheel_the_error_names_the_compose_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(KafkaUnavailable, match=r"docker-compose\.yml"):
        MockKafka()
