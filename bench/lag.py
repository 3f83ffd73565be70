"""Records that consumers have not processed yet, as the broker knows it: ends of partitions less commits."""

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from shared.contracts.topics import AUDIT_OCSF, TOPICS


async def records_behind(bootstrap: str) -> int:
    """Over all services and the topics of facts they read."""
    read = [topic for topic in TOPICS.values() if topic.cleanup == "delete" and topic.name != AUDIT_OCSF]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await consumer.start()
    await admin.start()
    try:
        partitions = [TopicPartition(topic.name, n) for topic in read for n in range(topic.partitions)]
        ends = await consumer.end_offsets(partitions)
        waiting = 0
        for service in sorted({reader for topic in read for reader in topic.readers}):
            committed = await admin.list_consumer_group_offsets(service)
            for partition, end in ends.items():
                if service in TOPICS[partition.topic].readers and end:
                    done = committed.get(partition)
                    waiting += end - max(0, done.offset if done else 0)
        return waiting
    finally:
        await admin.close()
        await consumer.stop()
