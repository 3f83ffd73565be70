import base64
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.access import AccessGranted
from shared.contracts.configuration import AuditRead, facts_of
from shared.contracts.documents import ApprovalRule
from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from shared.contracts.stop import TicketTerminated
from shared.contracts.ticket import TicketSubmitted
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for
from shared.runtime.service import Service
from tests.support import ocsf
from tests.support.audit_log import records, sequences
from tests.support.facts import GRANT_ID, TICKET_ID, contract_events, example
from tests.support.signing import signed
from tests.support.stops import GARBLED, body_of

RULE_FACTS = facts_of(ApprovalRule)

CANARY = "c4n4ry-authorization"


def from_kafka(
    event: Event, topic: str, *, event_id: str | None = None, headers: Mapping[str, str] | None = None
) -> ConsumerRecord[bytes, bytes]:
    """The record as the owner's relay sends it."""
    sent = headers_for(
        event_id=event_id or new_id(),
        type_name=event.TYPE,
        subject=event.subject,
        source=topics.TOPICS[topic].owner,
        time=event.at,
    ) | (headers or {})
    record = ConsumerRecord(
        topic=topic, partition=0, offset=7, timestamp=0, timestamp_type=0, key=event.subject.encode(),
        value=event.model_dump_json().encode(), checksum=None, serialized_key_size=0,
        serialized_value_size=0, headers=tuple((name, value.encode()) for name, value in sent.items()),
    )  # fmt: skip
    return signed(record)


def test_subscriptions_are_all_topics_of_facts_that_audit_reads(service: Service) -> None:
    facts = {
        name
        for name, topic in topics.TOPICS.items()
        if "audit" in topic.readers and topic.cleanup == "delete"
    }
    assert set(service.consumer.topics) == facts


async def test_consume_known_types_from_their_topic_keeps_each(service: Service) -> None:
    places = [
        (topic, cls)
        for topic in service.consumer.topics
        for cls in contract_events()
        if topics.TOPICS[topic].takes(cls.TYPE)
    ]
    assert {cls for _, cls in places} == set(contract_events()) - {AuditRead}
    for topic, cls in places:
        await service.consumer.run([from_kafka(example(cls), topic)])
    kept = await records(service)
    assert [f"{record['metadata']['event_code']}.v1" for record in kept] == [cls.TYPE for _, cls in places]
    assert [record["metadata"]["product"]["feature"]["name"] for record in kept] == [
        topics.TOPICS[topic].owner for topic, _ in places
    ]


async def test_consume_fact_of_another_services_noun_is_parked_with_an_alert(service: Service) -> None:
    foreign = [cls for cls in contract_events() if not topics.TOPICS[topics.NOTIFICATION].takes(cls.TYPE)]
    assert {AccessGranted, TicketSubmitted, RULE_FACTS.changed, AuditRead} <= set(foreign)
    for offset, cls in enumerate(foreign):
        record = signed(replace(from_kafka(example(cls), topics.NOTIFICATION), offset=offset))
        await service.consumer.run([record])
    assert await sequences(service) == []
    assert await service.context.pool.fetchval("SELECT count(*) FROM dead_letter") == len(foreign)
    assert len(service.context.alerts.active) == len(foreign)


async def test_consume_after_crash_before_offset_commit_absorbs_the_redelivery(service: Service) -> None:
    record = from_kafka(example(TicketSubmitted), topics.TICKET, event_id=new_id())
    await service.consumer.run([record])
    await service.consumer.run([record])
    assert await sequences(service) == [1]


async def test_consume_unknown_type_is_skipped(service: Service) -> None:
    event = example(TicketSubmitted)
    record = from_kafka(event, topics.TICKET, headers={"ce_type": "ticket.of_tomorrow.v9"})
    assert "ticket.of_tomorrow.v9" not in EVENTS
    await service.consumer.run([record])
    assert await sequences(service) == []
    assert await service.context.pool.fetchval("SELECT count(*) FROM dead_letter") == 0


async def test_consume_fact_of_wrong_owner_is_parked_and_not_logged(service: Service) -> None:
    record = from_kafka(example(TicketSubmitted), topics.TICKET, headers={"ce_source": "notifier"})
    await service.consumer.run([record])
    assert await sequences(service) == []
    assert await service.context.pool.fetchval("SELECT count(*) FROM dead_letter") == 1


@pytest.mark.parametrize("kind", GARBLED)
async def test_consume_stop_of_which_only_the_ids_can_be_read_is_kept_once(
    service: Service, kind: str
) -> None:
    stop = example(TicketTerminated)
    value = json.dumps(GARBLED[kind](body_of(stop))).encode()
    record = _with_value(from_kafka(stop, topics.STOP, event_id=new_id()), value)
    for _ in range(2):
        await service.consumer.run([record])
    (kept,) = await records(service)
    assert ocsf.problems(kept) == []
    assert kept["metadata"]["event_code"] == "ticket.terminated"
    assert kept["metadata"]["correlation_uid"] == TICKET_ID
    assert kept["unmapped"]["jit"]["grant_ids"] == [GRANT_ID]
    assert service.context.alerts.active == []


async def test_consume_secrets_in_headers_and_unknown_fields_reach_no_record(service: Service) -> None:
    clean = from_kafka(
        example(TicketSubmitted),
        topics.TICKET,
        headers={"authorization": f"Bearer {CANARY}", "cookie": f"session={CANARY}"},
    )
    value = (clean.value or b"").replace(b'"subject":', f'"token":"{CANARY}","subject":'.encode(), 1)
    assert CANARY.encode() in value
    await service.consumer.run([_with_value(clean, value)])
    stored = await service.context.pool.fetchval("SELECT ocsf FROM audit_event")
    sent = await service.context.pool.fetchrow("SELECT payload, headers::text FROM outbox")
    for text in (stored, sent["payload"], str(sent["headers"]).encode()):
        assert CANARY.encode() not in text
        assert base64.b64encode(CANARY.encode()) not in text


def _with_value(record: ConsumerRecord[bytes, bytes], value: bytes) -> ConsumerRecord[bytes, bytes]:
    return signed(replace(record, value=value))
