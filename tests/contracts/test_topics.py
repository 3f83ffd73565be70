"""What must hold of the table of topics, whatever is added to it."""

import re

import pytest

from shared.contracts.event import Event
from shared.contracts.stop import StopFact
from shared.contracts.topics import (
    AUDIT_OCSF,
    COMPACTED,
    STOP,
    TICKET,
    TOPICS,
    Topic,
    documents_topic,
    topic_of,
)
from shared.database.migrate import SERVICES
from shared.foundation.errors import Bug
from tests.support.facts import contract_events

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


SAID_BY_ALL = ("authz.denied.v1", "operation.requested.v1")
UNSAID = "audit.read.v1"
"""The log notes it itself."""


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_fact_stands_on_one_topic_of_its_owner_that_audit_reads(cls: type[Event]) -> None:
    """Who says it has no choice of a topic, and who reads it looks for it on no other."""
    for service in (name for name in SERVICES if name != "audit"):
        places = [topic for topic in TOPICS.values() if topic.owner == service and topic.takes(cls.TYPE)]
        if not places:
            with pytest.raises(Bug, match=cls.TYPE):
                topic_of(service, cls.TYPE)
            continue
        assert [topic_of(service, cls.TYPE)] == [topic.name for topic in places]
        assert "audit" in places[0].readers
    owners = {topic.owner for topic in TOPICS.values() if topic.takes(cls.TYPE)}
    assert len(owners) == (0 if cls.TYPE == UNSAID else 1) or cls.TYPE in SAID_BY_ALL


def test_stops_stand_on_a_topic_of_their_own_and_nothing_else_does() -> None:
    for cls in contract_events():
        is_stop = issubclass(cls, StopFact)
        assert TOPICS[STOP].takes(cls.TYPE) == is_stop, cls.TYPE
        if is_stop:
            assert not TOPICS[TICKET].takes(cls.TYPE), cls.TYPE
    assert not TOPICS[STOP].takes("ticket.vanished.v9")


def test_stops_of_every_version_stand_there() -> None:
    assert TOPICS[STOP].takes("ticket.terminated.v2")
    assert not TOPICS[TICKET].takes("ticket.terminated.v2")


def test_services_own_at_most_one_topic_of_documents() -> None:
    assert len({topic.owner for topic in COMPACTED}) == len(COMPACTED)
    for topic in COMPACTED:
        assert documents_topic(topic.owner) == topic.name


def test_ocsf_topic_belongs_to_audit_and_has_no_reader_inside() -> None:
    assert TOPICS[AUDIT_OCSF].owner == "audit"
    assert TOPICS[AUDIT_OCSF].readers == ()
