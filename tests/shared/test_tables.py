"""The compacted topics as a replica reads them: complete, from their owners and fresh, or not relied on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import topics
from shared.contracts.documents import ApprovalRule, Document, Marker, RegisteredAccount
from shared.contracts.event import Contract, Revisions
from shared.documents.document_store import fingerprint
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import NotReady
from shared.messaging.envelope import headers_for
from shared.messaging.outbox import MARKER_TYPE, document_type
from shared.policy.world import World
from tests.support import organisation
from tests.support.corridor import create_topics, kafka_settings
from tests.support.harness import NOW, mark
from tests.support.servers import Broker, embedded_kafka
from tests.support.waiting import until

OWNERS = {topic.owner: topic.name for topic in topics.COMPACTED}


def make_tables(broker: Broker | None = None, *, clock: ManualClock | None = None) -> Tables:
    settings = kafka_settings(broker or Broker("127.0.0.1:1"))
    return Tables(
        world=World(roles=organisation.ROLES),
        settings=settings,
        clock=clock or ManualClock(NOW),
        stale_after=timedelta(seconds=60),
    )


def marker_of(owner: str, documents: list[Document], *, revision: int | None = None) -> Marker:
    digest = 0
    for document in documents:
        digest ^= fingerprint(document)
    newest = max((document.revision for document in documents), default=0)
    live = sum(not document.deleted for document in documents)
    return Marker(
        owner=owner, revision=newest if revision is None else revision, count=live, digest=f"{digest:064x}",
        at=NOW,
    )  # fmt: skip


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
        await self._producer.send_and_wait(
            topic, value, key=key.encode(), headers=[(name, text.encode()) for name, text in headers.items()]
        )


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


# by hand, without a broker


def fill(tables: Tables, given: Mapping[str, list[Document]]) -> None:
    for name, documents in given.items():
        for document in documents:
            tables.take(name, document)
        tables.note_marker(marker_of(name, documents))


def test_tables_are_not_ready_before_every_owner_has_marked() -> None:
    tables = make_tables()
    assert not tables.world.ready
    with pytest.raises(NotReady, match="waiting for approval, provisioner, ticket"):
        tables.require_ready()
    given = organisation.everything()
    fill(tables, {name: given[name] for name in ("ticket", "approval")})
    assert tables.unready_owners == ["provisioner"]
    fill(tables, {"provisioner": given["provisioner"]})
    tables.require_fresh()
    assert tables.world.ready


def test_a_missing_document_keeps_the_marker_from_verifying() -> None:
    tables, documents = make_tables(), organisation.everything()
    fill(tables, {**documents, "approval": []})
    tables.take("approval", documents["approval"][0])
    tables.note_marker(marker_of("approval", documents["approval"]))
    assert tables.unready_owners == ["approval"]
    for document in documents["approval"]:
        tables.take("approval", document)
    tables.note_marker(marker_of("approval", documents["approval"]))
    assert tables.ready


def test_documents_in_any_order_and_twice_verify_the_same() -> None:
    tables, documents = make_tables(), organisation.everything()
    fill(tables, {name: [*reversed(owned), *owned] for name, owned in documents.items()})
    for name, owned in documents.items():
        mark(tables, name, owned, at=NOW)
    assert tables.ready


def test_a_deletion_is_counted_out_and_an_older_revision_does_not_bring_it_back() -> None:
    tables, documents = make_tables(), organisation.everything()
    fill(tables, documents)
    first = documents["ticket"][0]
    gone = first.model_copy(update={"deleted": True, "revision": 99})
    tables.take("ticket", gone)
    tables.take("ticket", first)
    tables.note_marker(marker_of("ticket", [*documents["ticket"][1:], gone]))
    assert tables.ready
    assert tables.world.get(type(first), first.id) is None


def test_a_marker_from_before_what_is_known_says_nothing() -> None:
    tables, documents = make_tables(), organisation.everything()
    fill(tables, documents)
    tables.take("ticket", RegisteredAccount(id="555555555555", revision=50))
    tables.note_marker(marker_of("ticket", []))
    assert tables.ready


def test_stale_markers_refuse_writes_and_allow_reads() -> None:
    clock = ManualClock(NOW)
    tables = make_tables(clock=clock)
    fill(tables, organisation.everything())
    clock.advance(timedelta(seconds=60))
    tables.require_fresh()
    clock.advance(timedelta(seconds=1))
    tables.require_ready()
    with pytest.raises(NotReady, match="61 s old"):
        tables.require_fresh()


def test_one_stale_owner_is_enough_to_be_stale() -> None:
    clock = ManualClock(NOW)
    tables, documents = make_tables(clock=clock), organisation.everything()
    fill(tables, documents)
    clock.advance(timedelta(seconds=90))
    for name in ("ticket", "approval"):
        mark(tables, name, documents[name], at=clock.now())
    assert tables.age() == timedelta(seconds=90)
    mark(tables, "provisioner", documents["provisioner"], at=clock.now())
    assert tables.age() == timedelta(0)


async def test_waiting_for_a_revision_that_is_here_does_not_wait() -> None:
    tables = make_tables()
    fill(tables, organisation.everything())
    await tables.wait_for(tables.world.revisions, timeout_s=0)


async def test_waiting_for_a_revision_that_does_not_come_is_not_ready() -> None:
    tables = make_tables()
    with pytest.raises(NotReady, match="has not arrived here yet") as refused:
        await tables.wait_for(Revisions(catalog=5), timeout_s=0.01)
    assert refused.value.code == "revision_not_here"


# over the broker


async def test_everything_published_is_read_and_ready(broker: Broker, owner: Owner) -> None:
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.ready)
    assert tables.world.user(organisation.user_id("ann")) is not None
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
    take = tables.take

    def watching(name: str, document: Document) -> None:
        take(name, document)
        states.append((tables.ready, len(tables.world.all(ApprovalRule))))

    monkeypatch.setattr(tables, "take", watching)
    async with reading(tables):
        await until(lambda: tables.ready)
    assert not any(ready for ready, _ in states)
    assert tables.world.all(ApprovalRule) == []


async def test_a_wait_ends_when_the_write_arrives(broker: Broker, owner: Owner) -> None:
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.ready)
        waiting = asyncio.create_task(tables.wait_for(Revisions(catalog=77), timeout_s=15))
        await owner.document(
            RegisteredAccount(id="555555555555", revision=77), topic=topics.CATALOG, source="ticket"
        )
        await waiting
    assert tables.world.registered_account("555555555555") is not None


@pytest.mark.parametrize("forgery", ["source", "kind", "marker of another", "marker of nobody", "bad body"])
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
    else:
        await owner.raw(topics.RULES, "rule/x", "document.rule.v1", b'{"id": 1}', source="approval")
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.ready)
    assert len(tables.left_out) == 1
    assert tables.world.get(ApprovalRule, "forged") is None


async def test_unknown_types_are_skipped(broker: Broker, owner: Owner) -> None:
    await owner.raw(topics.RULES, "budget/1", "document.budget.v1", b"{}", source="approval")
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.ready)
    assert tables.left_out == {}


async def test_a_lost_broker_is_waited_for_and_what_was_read_stays(broker: Broker, owner: Owner) -> None:
    assert broker.mock is not None
    await owner.everything()
    tables = make_tables(broker)
    async with reading(tables):
        await until(lambda: tables.ready)
        broker.mock.set_down()
        assert tables.ready
        broker.mock.set_up()
        await owner.document(
            RegisteredAccount(id="555555555555", revision=77), topic=topics.CATALOG, source="ticket"
        )
        await until(lambda: tables.world.registered_account("555555555555") is not None)


async def test_an_absent_broker_is_waited_for(broker: Broker, owner: Owner) -> None:
    assert broker.mock is not None
    await owner.everything()
    broker.mock.set_down()
    tables = make_tables(broker)
    async with reading(tables):
        await asyncio.sleep(0)
        assert not tables.ready
        broker.mock.set_up()
        await until(lambda: tables.ready)
