"""Whether a broker's topics are what the table of topics says. For `jit migrate`, which makes missing ones.

It changes none that is there: more copies or partitions move data, which is the operator's to begin.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.contracts.topics import TOPICS, Topic
from shared.foundation.settings import KafkaSettings
from shared.messaging.kafka import administering, configs_of


async def differences(settings: KafkaSettings, *, replication: int) -> list[str]:
    """A sentence for each thing that is otherwise than the table says."""
    async with administering(settings) as admin:
        described = {found["topic"]: found for found in await admin.describe_topics(list(TOPICS))}
        configured = await _configs(admin)
    return [
        difference
        for topic in TOPICS.values()
        for difference in _differences(topic, described[topic.name], configured[topic.name], replication)
    ]


async def _configs(admin: AIOKafkaAdminClient) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in TOPICS]
    answers = await admin.describe_configs(resources)
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


def _differences(
    topic: Topic, described: Mapping[str, Any], configured: Mapping[str, str], replication: int
) -> Iterator[str]:
    partitions = described["partitions"]
    if len(partitions) != topic.partitions:
        yield f"{topic.name} has {len(partitions)} partitions, and {topic.partitions} are wanted"
    copies = min((len(partition["replicas"]) for partition in partitions), default=0)
    if copies < replication:
        yield f"{topic.name} keeps {copies} of the {replication} copies that are wanted"
    for name, wanted in configs_of(topic, replication).items():
        if (found := configured.get(name)) != wanted:
            yield f"{topic.name} has {name}={found}, and {wanted} is wanted"
