"""Kafka clients as this project uses them: one place that turns settings into connections."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from shared.contracts.topics import TOPICS, Topic
from shared.foundation.settings import KafkaSettings


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap),
        "security_protocol": settings.security,
    }
    if settings.security.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(settings)
    if settings.security.startswith("SASL"):
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.username
        arguments["sasl_plain_password"] = settings.password.get_secret_value()
    return arguments


def security(settings: KafkaSettings) -> BaseSecurity:
    """The same connection as FastStream wants to be told about it."""
    context = _ssl_context(settings) if settings.security.endswith("SSL") else None
    if not settings.security.startswith("SASL"):
        return BaseSecurity(ssl_context=context)
    mechanisms = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return mechanisms[settings.sasl_mechanism](
        settings.username, settings.password.get_secret_value(), ssl_context=context
    )


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file)


def producer(settings: KafkaSettings, *, client_id: str) -> AIOKafkaProducer:
    """The relay's producer. Idempotent: without it a batch may expire while the next is delivered."""
    return AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        request_timeout_ms=40_000,
    )


def table_consumer(settings: KafkaSettings, *, client_id: str) -> AIOKafkaConsumer:
    """A reader of whole compacted topics: no group, so every replica sees every record."""
    return AIOKafkaConsumer(
        **connection(settings),
        client_id=client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=settings.fetch_wait_ms,
    )


@asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for topics and rights. For `jit migrate` only."""
    admin = AIOKafkaAdminClient(**connection(settings), client_id="jit-migrate")
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def create_topics(settings: KafkaSettings, *, replication: int) -> list[str]:
    """Create the topics of the table that are missing; return their names. For `jit migrate` only."""
    async with administering(settings) as admin:
        reply = await admin.create_topics([_new(topic, replication) for topic in TOPICS.values()])
    created = []
    for name, code, *_ in reply.topic_errors:
        if code == 0:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(f"creating {name}")
    return created


def configs_of(topic: Topic, replication: int) -> dict[str, str]:
    """What a topic is configured with, by Kafka's names."""
    configs = {"cleanup.policy": topic.cleanup, "min.insync.replicas": str(max(1, replication - 1))}
    if topic.cleanup == "delete":
        configs["retention.ms"] = str(30 * 24 * 3600 * 1000)
    else:
        # Only closed segments are compacted: a week's markers (the default) would be read at every start.
        configs["segment.ms"] = str(3600 * 1000)
    return configs


def _new(topic: Topic, replication: int) -> NewTopic:
    configs = configs_of(topic, replication)
    return NewTopic(topic.name, topic.partitions, replication, topic_configs=configs)
