"""The compacted topics as a replica reads them: from their owners only, and to the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from shared.contracts import topics
from shared.contracts.documents import ApprovalRule, Document, Marker, RegisteredAccount
from shared.contracts.event import Contract, Revisions
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock, new_id
from shared.messaging.envelope import headers_for
from shared.messaging.outbox import MARKER_TYPE, document_type
from shared.policy.policy import Policy
from tests.contracts.test_forgery import FORGERIES
from tests.support import organisation
from tests.support.corridor import create_topics, kafka_settings
from tests.support.harness import NOW, marker_of
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import TRUST, as_bytes, signed, signed_headers
from tests.support.waiting import until

OWNERS = {topic.owner: topic.name for topic in topics.COMPACTED}


def make_tables(broker: Broker) -> Tables:
    settings = kafka_settings(broker)
    policy = Policy(organisation.ROLES, clock=ManualClock(NOW), stale_after=timedelta(seconds=60))
    return Tables(policy=policy, settings=settings, trust=TRUST)


class Owner:
    """Publishes on the compacted topics, as the relays of their owners would; or as somebody forging them."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def document(self, document: Document, *, topic: str, source: str) -> None:
        await self.raw(topic, document.key, document_type(document.kind), document, source=source)

    async def marker(self, marker: Marker, *, topic: str, source: str) -> None:
        await self.raw(topic, f"marker/{source}", MARKER_TYPE, marker, source=source)

    async def everything(self, *, but: str | None = None) -> None:
        for owner, documents in organisation.everything().items():
            if owner == but:
                continue
            for document in documents:
                await self.document(document, topic=OWNERS[owner], source=owner)
            await self.marker(marker_of(owner, documents), topic=OWNERS[owner], source=owner)

    async def raw(self, topic: str, key: str, type_name: str, body: Contract | bytes, *, source: str) -> None:
        headers = headers_for(event_id=new_id(), type_name=type_name, subject=key, source=source, time=NOW)
        value = body if isinstance(body, bytes) else body.model_dump_json().encode()
        sent = signed_headers(as_bytes(headers.items()), topic=topic, key=key.encode(), value=value)
        await self._producer.send_and_wait(topic, value, key=key.encode(), headers=sent)


@asynccontextmanager
async def reading(tables: Tables) -> AsyncIterator[None]:
    task = asyncio.create_task(tables.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.cancelled(), "the reader does not stop"


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    with embedded_kafka() as mock:
        found = Broker(mock.bootstrap, mock)
        await create_topics(found)
        yield found


@pytest.fixture
async def owner(broker: Broker) -> AsyncIterator[Owner]:
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        yield Owner(producer)


async def test_everything_published_is_read_and_ready(broker: Broker, owner: Owner) -> None:
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
    assert tables.policy.known().user(organisation.user_id("ann")) is not None
    assert tables.left_out == {}


async def test_markers_on_the_way_to_the_end_do_not_make_ready(
    broker: Broker, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owner.everything()
    removed = [
        document.model_copy(update={"deleted": True}) for document in organisation.everything()["approval"]
    ]
    removed = [document.model_copy(update={"revision": 10 + n}) for n, document in enumerate(removed)]
    for document in removed:
        await owner.document(document, topic=topics.RULES, source="approval")
    tables = make_tables(broker)
    states: list[tuple[bool, int]] = []
    take = tables.policy.take

    def watching(name: str, document: Document) -> None:
        take(name, document)
        states.append((tables.policy.ready, len(tables.policy.known().all(ApprovalRule))))

    monkeypatch.setattr(tables.policy, "take", watching)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
    assert not any(ready for ready, _ in states)
    assert tables.policy.known().all(ApprovalRule) == ()


async def test_a_wait_ends_when_the_write_arrives(broker: Broker, owner: Owner) -> None:
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
        waiting = asyncio.create_task(tables.policy.wait_for(Revisions(catalog=77), timeout_s=15))
        await owner.document(
            RegisteredAccount(id="555555555555", revision=77), topic=topics.CATALOG, source="ticket"
        )
        await waiting
    assert tables.policy.known().registered_account("555555555555") is not None


@pytest.mark.parametrize(
    "forgery", ["source", "kind", "marker of another", "marker of nobody", "marker to come", "bad body"]
)
async def test_forged_and_unreadable_records_are_left_out_and_kept_for_the_alert(
    broker: Broker, owner: Owner, forgery: str
) -> None:
    rule = ApprovalRule(id="forged", name="forged", accounts="*", sets="*", revision=90)
    if forgery == "source":
        await owner.document(rule, topic=topics.RULES, source="ticket")
    elif forgery == "kind":
        await owner.document(rule, topic=topics.CATALOG, source="ticket")
    elif forgery == "marker of another":
        await owner.marker(marker_of("approval", [], revision=99), topic=topics.CATALOG, source="ticket")
    elif forgery == "marker of nobody":
        await owner.marker(marker_of("mallory", []), topic=topics.CATALOG, source="ticket")
    elif forgery == "marker to come":
        dated = marker_of("approval", [], at=NOW + timedelta(days=1))
        await owner.marker(dated, topic=topics.RULES, source="approval")
    else:
        await owner.raw(topics.RULES, "rule/x", "document.rule.v1", b'{"id": 1}', source="approval")
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
    assert len(tables.left_out) == 1
    assert tables.policy.known().get(ApprovalRule, "forged") is None


async def test_document_and_marker_that_their_owner_did_not_sign_are_left_out(
    broker: Broker, owner: Owner, tmp_path: Path
) -> None:
    rule = ApprovalRule(id="forged", name="forged", accounts="*", sets="*", revision=90)
    marker = marker_of("approval", [], revision=99)
    bodies = [(rule.key, document_type(rule.kind), rule), ("marker/approval", MARKER_TYPE, marker)]
    async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
        for number, (key, type_name, body) in enumerate(bodies):
            headers = headers_for(
                event_id=new_id(), type_name=type_name, subject=key, source="approval", time=NOW
            )
            honest = ConsumerRecord(
                topic=topics.RULES, partition=0, offset=0, timestamp=0, timestamp_type=0, key=key.encode(),
                value=body.model_dump_json().encode(), checksum=None, serialized_key_size=0,
                serialized_value_size=0, headers=tuple(as_bytes(headers.items())),
            )  # fmt: skip
            for kind, forge in FORGERIES.items():
                sent = forge(signed(honest), tmp_path / f"{number}-{kind}")
                await producer.send_and_wait(sent.topic, sent.value, key=sent.key, headers=[*sent.headers])
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
    assert len(tables.left_out) == len(bodies) * len(FORGERIES)
    assert tables.policy.known().get(ApprovalRule, "forged") is None


async def test_a_deleted_document_is_read_from_its_tombstone(broker: Broker, owner: Owner) -> None:
    await owner.everything()
    (rule, *_) = organisation.everything()["approval"]
    gone = rule.model_copy(update={"revision": 50}).tombstone()
    await owner.document(gone, topic=topics.RULES, source="approval")
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
        await until(lambda: tables.policy.known().revisions.rules == 50)
    assert tables.policy.known().get(ApprovalRule, rule.id) is None
    assert tables.policy.known().knows(ApprovalRule, rule.id)
    assert tables.left_out == {}


async def test_what_the_topic_of_an_owner_holds_is_told_once_all_of_it_was_read(
    broker: Broker, owner: Owner
) -> None:
    await owner.everything()
    tables = make_tables(broker)
    tables.remember("approval")
    waiting = asyncio.create_task(tables.held_by_topic("approval"))
    await asyncio.sleep(0)
    assert not waiting.done()
    async with reading(tables):
        held = await waiting
    assert held == {one.key: one.revision for one in organisation.everything()["approval"]}
    assert await tables.held_by_topic("ticket") == {}, "nobody asked for it before"


async def test_unknown_types_are_skipped(broker: Broker, owner: Owner) -> None:
    await owner.raw(topics.RULES, "budget/1", "document.budget.v1", b"{}", source="approval")
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
    assert tables.left_out == {}


async def test_a_lost_broker_is_waited_for_and_what_was_read_stays(broker: Broker, owner: Owner) -> None:
    assert broker.mock is not None
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.policy.ready)
        broker.mock.set_down()
        assert tables.policy.ready
        broker.mock.set_up()
        await owner.document(
            RegisteredAccount(id="555555555555", revision=77), topic=topics.CATALOG, source="ticket"
        )
        await until(lambda: tables.policy.known().registered_account("555555555555") is not None)


async def test_an_absent_broker_is_waited_for(broker: Broker, owner: Owner) -> None:
    assert broker.mock is not None
    await owner.everything()
    broker.mock.set_down()
    tables = make_tables(broker)
    async with reading(tables):
        await asyncio.sleep(0)
        assert not tables.policy.ready
        broker.mock.set_up()
        await until(lambda: tables.policy.ready)
