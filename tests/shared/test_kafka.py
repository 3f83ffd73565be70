"""One place that turns settings into connections: aiokafka and FastStream must be told the same."""

from itertools import product
from typing import Any

import pytest
from faststream.kafka.security import parse_security

from shared.contracts import topics
from shared.contracts.documents import DOCUMENTS
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def settings(security: str, mechanism: str = "SCRAM-SHA-512") -> KafkaSettings:
    given: dict[str, Any] = {
        "bootstrap": ("a:1", "b:2"), "security": security, "sasl_mechanism": mechanism,
        "username": "jit", "password": "hunter2",
    }  # fmt: skip
    return KafkaSettings(**given)


@pytest.mark.parametrize(
    ("security", "mechanism"),
    [("PLAINTEXT", "PLAIN"), ("SSL", "PLAIN"), *product(("SASL_SSL", "SASL_PLAINTEXT"), MECHANISMS)],
)
def test_faststream_connects_as_aiokafka_does(security: str, mechanism: str) -> None:
    given = settings(security, mechanism)
    ours = kafka.connection(given)
    theirs = parse_security(kafka.security(given))
    assert ours.pop("bootstrap_servers") == ["a:1", "b:2"]
    assert ("ssl_context" in ours) == (theirs.pop("ssl_context") is not None) == security.endswith("SSL")
    ours.pop("ssl_context", None)
    assert ours == theirs


def test_tls_checks_certificates_and_names() -> None:
    context = kafka.connection(settings("SSL"))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


async def test_the_producer_loses_and_reorders_nothing() -> None:
    producer = kafka.producer(settings("PLAINTEXT"), client_id="test")
    assert producer._txn_manager is not None  # idempotent
    assert producer._sender._acks == -1
    await producer.stop()


async def test_the_table_reader_has_no_group_and_reads_from_the_start() -> None:
    consumer = kafka.table_consumer(settings("PLAINTEXT"), client_id="test")
    assert consumer._group_id is None
    assert consumer._auto_offset_reset == "earliest"
    assert not consumer._enable_auto_commit
    await consumer.stop()


@pytest.mark.parametrize("topic", topics.TOPICS.values(), ids=lambda topic: topic.name)
def test_every_topic_is_made_with_what_it_needs(topic: topics.Topic) -> None:
    new = kafka._new(topic, 3)
    assert (new.name, new.num_partitions, new.replication_factor) == (topic.name, topic.partitions, 3)
    assert new.topic_configs["min.insync.replicas"] == "2"
    assert new.topic_configs["cleanup.policy"] == topic.cleanup
    assert ("retention.ms" in new.topic_configs) == (topic.cleanup == "delete")
    if topic.cleanup == "compact":
        assert topic.partitions == 1  # a marker must follow what it counts


def test_every_topic_has_one_owner_that_does_not_read_its_own_facts() -> None:
    for topic in topics.TOPICS.values():
        if topic.cleanup == "delete":
            assert topic.owner not in topic.readers
    assert {kind for topic in topics.TOPICS.values() for kind in topic.kinds} == set(DOCUMENTS)
