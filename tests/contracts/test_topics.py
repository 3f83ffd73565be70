"""What must hold of the table of topics, whatever is added to it."""

import re

import pytest

from shared.contracts.topics import AUDIT_OCSF, COMPACTED, TOPICS, Topic, documents_topic, events_topic
from shared.database.migrate import SERVICES

every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)


@every_topic
def test_topic_is_named_with_its_version_and_stands_under_its_name(topic: Topic) -> None:
    assert re.fullmatch(r"jit(\.[a-z]+)+\.v[1-9][0-9]*", topic.name)
    assert TOPICS[topic.name] is topic


@every_topic
def test_topic_owner_and_readers_are_services(topic: Topic) -> None:
    assert topic.owner in SERVICES
    assert set(topic.readers) <= set(SERVICES)
    assert len(set(topic.readers)) == len(topic.readers)


@every_topic
def test_topic_of_facts_is_not_read_by_its_owner(topic: Topic) -> None:
    if topic.cleanup == "delete":
        assert topic.owner not in topic.readers, f"{topic.owner} knows its own facts from its database"


@every_topic
def test_topic_compacted_has_one_partition_and_every_reader(topic: Topic) -> None:
    if topic.cleanup == "compact":
        assert topic.partitions == 1, "a marker must follow the documents it counts"
        assert set(topic.readers) == set(SERVICES), "every replica decides on the whole policy"


@every_topic
def test_topic_of_facts_is_keyed_by_ticket_over_several_partitions(topic: Topic) -> None:
    if topic.cleanup == "delete":
        assert topic.key == "ticket id"
        assert topic.partitions > 1


def test_facts_of_every_service_reach_the_audit_log() -> None:
    for service in SERVICES:
        if service != "audit":
            assert "audit" in TOPICS[events_topic(service)].readers


def test_services_own_at_most_one_topic_of_each_kind() -> None:
    owned = [(topic.owner, topic.cleanup) for topic in TOPICS.values()]
    assert len(set(owned)) == len(owned), "events_topic() and documents_topic() know one topic per service"
    for topic in COMPACTED:
        assert documents_topic(topic.owner) == topic.name


def test_ocsf_topic_belongs_to_audit_and_has_no_reader_inside() -> None:
    assert TOPICS[AUDIT_OCSF].owner == "audit"
    assert TOPICS[AUDIT_OCSF].readers == ()
