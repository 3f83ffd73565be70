"""Facts on the bus that their owners did not sign: they open nothing, stop nothing, and somebody is told.

Whoever writes them here can write to every topic, knows what honest services would say, and holds keys: of
another service, of another instance, one that was retired, or none.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from shared.contracts.event import Event
from shared.contracts.ticket import Ticket
from shared.contracts.topics import ACCESS, APPROVAL, TICKET, TOPICS
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from shared.messaging.key_folder import KeyFolder
from shared.messaging.signing import Signer
from tests.support import forging
from tests.support.facts import contract_events, example
from tests.support.running import Running, until
from tests.support.signing import signer
from tests.support.together import together

pytestmark = pytest.mark.e2e


def _retired(running: Running, service: str) -> Signer:
    """A key of the service that was trusted until it was retired."""
    keys = KeyFolder(running.stack.options.data / "keys")
    kept = KeyFolder(running.stack.options.data / "kept" / new_id())
    file = keys.make(service)
    kept.signing_file(service).parent.mkdir(parents=True)
    kept.signing_file(service).write_bytes(file.read_bytes())
    made = signer(service, keys=kept)
    keys.retire(service, made.key.id)
    return made


def _forgers(running: Running, owner: str) -> dict[str, Signer | None]:
    return {
        "no key": None,
        "another service's key": forging.key_of(running, "notifier" if owner != "notifier" else "audit"),
        "another instance": forging.key_of(running, owner, instance="another"),
        "a retired key": _retired(running, owner),
    }


async def _forge_each_way(producer: AIOKafkaProducer, running: Running, events: Sequence[Event]) -> int:
    """Each fact by each forger, and signed for another place; answers how many records that were."""
    sent = 0
    for event in events:
        topic = forging.topic_of(event)
        value, key = event.model_dump_json().encode(), event.subject
        headers = forging.headers(running, event.TYPE, source=topic.owner, subject=key)
        for name, by in _forgers(running, topic.owner).items():
            assert by is None or by.key.id, name
            signed = by.signed(headers, topic=topic.name, key=key.encode(), value=value) if by else headers
            await producer.send_and_wait(topic.name, value, key=key.encode(), headers=signed)
            sent += 1
        owner = forging.key_of(running, topic.owner)
        for place, name in ((topic.name, b"another-ticket"), (_another(topic.name), key.encode())):
            moved = owner.signed(headers, topic=place, key=name, value=value)
            await producer.send_and_wait(topic.name, value, key=key.encode(), headers=moved)
            sent += 1
    return sent


def _another(topic: str) -> str:
    return next(name for name in TOPICS if name != topic)


async def _set_aside(running: Running, service: str) -> int:
    page = await running.person("root").get(f"/v1/ops/{service}/dead-letters?limit=200")
    return sum("signed" in one["error"] or "signature" in one["error"] for one in page["items"])


@together
async def test_forged_approval_that_would_do_opens_nothing(running: Running) -> None:
    """Content, witness and votes are right: from their owners it would be access."""
    account = running.spare_account("nonprod")
    ticket = await running.submit("ann", (account, "Developer"), duration="PT1H")
    whole, now = Ticket.model_validate(ticket), running.clock.now()
    window = Window(starts_at=now, ends_at=now + timedelta(hours=1))
    subject = whole.subject_of(whole.targets[0])
    votes = (forging.vote(running, "bob"),)
    words = [
        forging.witness(whole, subject, window, at=now, votes=votes),
        forging.approval(whole, window),
    ]
    before = await _set_aside(running, "provisioner")
    async with running.intruder() as producer:
        sent = await _forge_each_way(producer, running, words)

    async def all_set_aside() -> bool:
        return await _set_aside(running, "provisioner") >= before + sent

    await until(all_set_aside, 60, what="forged approvals")
    await running.until_alerted(
        "provisioner: a message on jit.approval.v1 was not sent by approval",
        "provisioner: a message on jit.ticket.v1 was not sent by ticket",
    )
    assert (await running.ticket(ticket["id"]))["state"] == "pending"
    assert not running.calls("CreateAccountAssignment", "ann", account)
    await running.decide("bob", ticket["id"])
    await running.until_state(ticket["id"], "active")


def _about(ticket: Mapping[str, Any], cls: type[Event]) -> Event:
    """A fact of this kind about this ticket, as far as it can be made one of it."""
    event = example(cls)
    text = event.model_dump_json()
    named = getattr(event, "ticket_id", None) or event.subject
    changed = text.replace(str(named), ticket["id"])
    return cls.model_validate_json(changed).model_copy(update={"subject": ticket["id"]})


@together
async def test_forged_fact_of_each_kind_about_live_access_changes_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
    await running.until_mailed(ticket["id"], "ann", "Access granted")
    await running.until_recorded(ticket["id"], "access.granted")
    trail = await running.codes(ticket["id"])
    kinds = [
        cls
        for cls in contract_events()
        if any(topic.cleanup == "delete" and topic.takes(cls.TYPE) for topic in TOPICS.values())
    ]
    async with running.intruder() as producer:
        for cls in kinds:
            event = _about(ticket, cls)
            topic = forging.topic_of(event)
            value, key = event.model_dump_json().encode(), ticket["id"].encode()
            headers = forging.headers(running, cls.TYPE, source=topic.owner, subject=ticket["id"])
            other = forging.key_of(running, "audit")
            for sent in (headers, other.signed(headers, topic=topic.name, key=key, value=value)):
                await producer.send_and_wait(topic.name, value, key=key, headers=sent)
    later = await running.granted("ann", (running.spare_account("nonprod"), "Developer"), by=["bob"])
    await running.until_recorded(later["id"], "access.granted")
    assert (await running.ticket(ticket["id"]))["state"] == "active"
    assert running.present("ann", account, "Developer")
    assert await running.codes(ticket["id"]) == trail


@together
async def test_what_was_really_said_proves_nothing_elsewhere(running: Running) -> None:
    """Real records of a granted ticket, with their real signatures, under another key and elsewhere."""
    account = running.spare_account("nonprod")
    granted = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
    waiting = await running.submit("ann", (running.spare_account("nonprod"), "Developer"), duration="PT1H")
    await running.until_recorded(granted["id"], "access.granted")
    records = await _records_of(running, granted["id"])
    assert {record.topic for record in records} >= {TICKET, APPROVAL, ACCESS}
    async with running.intruder() as producer:
        for record in records:
            value = (record.value or b"").replace(granted["id"].encode(), waiting["id"].encode())
            for topic, key, said in (
                (record.topic, waiting["id"].encode(), record.value),
                (record.topic, record.key, value),
                (_another_of_facts(record.topic), record.key, record.value),
            ):
                await producer.send_and_wait(topic, said, key=key, headers=[*record.headers])
    await running.decide("bob", waiting["id"])
    await running.until_state(waiting["id"], "active")
    assert (await running.ticket(granted["id"]))["state"] == "active"
    assert len(running.calls("CreateAccountAssignment", "ann", account)) == 1


def _another_of_facts(topic: str) -> str:
    return TICKET if topic != TICKET else ACCESS


async def _records_of(running: Running, ticket_id: str) -> list[Any]:
    """What stands on the topics of facts about a ticket."""
    found = []
    consumer = AIOKafkaConsumer(
        *(name for name, topic in TOPICS.items() if topic.cleanup == "delete"),
        bootstrap_servers=running.stack.bootstrap.split(","),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while [one for one, end in ends.items() if await consumer.position(one) < end]:
            batch = await consumer.getmany(timeout_ms=1000)
            found += [one for records in batch.values() for one in records if one.key == ticket_id.encode()]
    finally:
        await consumer.stop()
    return found
