"""What `jit migrate` does at a real broker that denies what no ACL allows: rights, and a look at topics."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from shared.contracts import topics
from shared.database.migrate import SERVICES
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.acls import acls_of, write_acls
from shared.messaging.topic_check import differences
from tests.support.guarded_kafka import as_user, guarded_kafka
from tests.support.kafka_server import KafkaServer
from tests.support.waiting import until

pytestmark = pytest.mark.messaging


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    with guarded_kafka() as server:
        yield server


@pytest.fixture(scope="module")
async def allowed(server: KafkaServer) -> KafkaServer:
    """Topics made and rights given by the administrator; twice, since `jit migrate` runs at each start."""
    admin = as_user(server, "admin")
    await kafka.create_topics(admin, replication=1)
    for _ in range(2):
        await write_acls(admin, [acl for name in SERVICES for acl in acls_of(name, f"User:jit-{name}")])
    return server


@asynccontextmanager
async def producing(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer: AIOKafkaProducer = kafka.producer(settings, client_id="acls")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@pytest.mark.parametrize("service", SERVICES)
async def test_service_writes_to_its_own_topics_and_to_no_other(allowed: KafkaServer, service: str) -> None:
    async with producing(as_user(allowed, f"jit-{service}")) as producer:
        for topic in topics.TOPICS.values():
            if topic.owner == service:
                await producer.send_and_wait(topic.name, b"mine", key=b"k")
            else:
                with pytest.raises(TopicAuthorizationFailedError):
                    await producer.send_and_wait(topic.name, b"not mine", key=b"k", partition=0)


async def read_one(settings: KafkaSettings, topic: str, *, group: str) -> None:
    consumer = AIOKafkaConsumer(
        topic, **kafka.connection(settings), group_id=group, auto_offset_reset="earliest"
    )
    try:
        async with asyncio.timeout(30):
            await consumer.start()
            await consumer.getone()
    finally:
        await consumer.stop()


async def test_reader_reads_what_it_is_a_reader_of_in_its_own_group_only(allowed: KafkaServer) -> None:
    async with producing(as_user(allowed, "jit-approval")) as producer:
        await producer.send_and_wait(topics.APPROVAL, b"x", key=b"k")
    notifier = as_user(allowed, "jit-notifier")
    await read_one(notifier, topics.APPROVAL, group="notifier")
    with pytest.raises(GroupAuthorizationFailedError):
        await read_one(notifier, topics.APPROVAL, group="ticket")
    with pytest.raises(TopicAuthorizationFailedError):
        await read_one(notifier, topics.NOTIFICATION, group="notifier")


async def test_topic_that_is_otherwise_than_the_table_says_is_told(allowed: KafkaServer) -> None:
    """The last one here: it leaves topics as they should not be."""
    settings = as_user(allowed, "admin")
    assert await differences(settings, replication=1) == []
    told = await differences(settings, replication=3)
    assert f"{topics.TICKET} keeps 1 of the 3 copies that are wanted" in told
    assert f"{topics.TICKET} has min.insync.replicas=1, and 2 is wanted" in told
    admin = AIOKafkaAdminClient(**kafka.connection(settings))
    await admin.start()
    try:
        await admin.create_partitions({topics.RULES: NewPartitions(2)})
        wrong = {**kafka.configs_of(topics.TOPICS[topics.ACCESS], 1), "retention.ms": "1000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.ACCESS, configs=wrong)])
    finally:
        await admin.close()
    await until(lambda: _is_told(settings))


async def _is_told(settings: KafkaSettings) -> bool:
    return sorted(await differences(settings, replication=1)) == [
        f"{topics.ACCESS} has retention.ms=1000, and 2592000000 is wanted",
        f"{topics.RULES} has 2 partitions, and 1 are wanted",
    ]
