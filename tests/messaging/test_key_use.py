"""Which keys a reader may still meet at the broker, and what `jit keys retire` says of it."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from cli.keys import why_not_yet
from shared.contracts import topics
from shared.messaging.key_folder import KeyFolder, ListedKey
from shared.messaging.key_use import KeyUse, use_of
from shared.messaging.signing import Signer
from tests.support.corridor import create_topics, kafka_settings
from tests.support.servers import Broker, embedded_kafka
from tests.support.signing import made_keys, signer


async def say(producer: AIOKafkaProducer, by: Signer, topic: str, key: bytes) -> None:
    headers = by.signed([("ce_type", b"x")], topic=topic, key=key, value=b"{}")
    await producer.send_and_wait(topic, b"{}", key=key, headers=headers)


async def test_use_of_a_key_is_what_stands_on_its_services_topics(tmp_path: Path) -> None:
    keys = made_keys(tmp_path / "keys")
    with embedded_kafka() as mock:
        broker = Broker(mock.bootstrap, mock)
        await create_topics(broker)
        settings = kafka_settings(broker)
        old = signer("approval", keys=keys)
        async with AIOKafkaProducer(bootstrap_servers=broker.servers) as producer:
            for number in range(20):
                await say(producer, old, topics.APPROVAL, b"%d" % number)
            await say(producer, old, topics.RULES, b"rule/1")
            await say(producer, old, topics.RULES, b"marker/approval")
            found = await use_of(settings, "approval", old.key.id)
            assert found == KeyUse((topics.APPROVAL,), (topics.RULES,), newer_key=False)

            new = next_signer(keys)
            await say(producer, new, topics.APPROVAL, b"1")
            await say(producer, new, topics.RULES, b"rule/1")
            found = await use_of(settings, "approval", old.key.id)
            assert found == KeyUse((topics.APPROVAL,), (topics.RULES,), newer_key=True)

            await say(producer, new, topics.RULES, b"marker/approval")
            found = await use_of(settings, "approval", old.key.id)
            assert found == KeyUse((topics.APPROVAL,), (), newer_key=True)
        assert await use_of(settings, "ticket", old.key.id) == KeyUse((), (), newer_key=False)


def next_signer(keys: KeyFolder) -> Signer:
    keys.make("approval").replace(keys.signing_file("approval"))
    return signer("approval", keys=keys)


KEY = ListedKey("approval", "0" * 16, "trusted")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (KeyUse((), (), newer_key=False), "nothing at the broker is signed by another key of approval's"),
        (KeyUse(("f",), ("d",), newer_key=True), "POST /v1/ops/approval/documents/republish"),
        (KeyUse(("f",), (), newer_key=True), "wait until their retention has passed"),
    ],
)
def test_key_is_not_retired_while_a_reader_may_meet_it(use: KeyUse, said: str) -> None:
    assert said in (why_not_yet(KEY, use) or "")


def test_key_is_retired_when_nothing_of_it_is_left() -> None:
    assert why_not_yet(KEY, KeyUse((), (), newer_key=True)) is None
