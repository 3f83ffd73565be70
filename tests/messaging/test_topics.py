"""`jit migrate` makes the topics on a real broker, with what the table says."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.contracts import topics
from shared.messaging import kafka
from tests.messaging.bus import Bus
from tests.support.corridor import kafka_settings

pytestmark = pytest.mark.messaging


async def test_topics_are_made_once_with_their_partitions_and_cleanup(a_bus: Bus) -> None:
    if a_bus.broker.mock is not None:
        pytest.skip("the mock cluster answers no admin requests")
    settings = kafka_settings(a_bus.broker)
    created = await kafka.create_topics(settings, replication=1)
    assert set(created) <= set(topics.TOPICS)
    assert await kafka.create_topics(settings, replication=1) == []
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.bootstrap))
    await admin.start()
    try:
        described = await admin.describe_topics(list(topics.TOPICS))
        partitions = {found["topic"]: len(found["partitions"]) for found in described}
        assert partitions == {topic.name: topic.partitions for topic in topics.TOPICS.values()}
        for topic in topics.TOPICS.values():
            if topic.name in created:
                assert await _cleanup(admin, topic.name) == topic.cleanup
    finally:
        await admin.close()


async def _cleanup(admin: AIOKafkaAdminClient, topic: str) -> str:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    found = {
        entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]
    }
    return str(found["cleanup.policy"])
