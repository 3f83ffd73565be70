"""Every fact at every reader, forged in every way: set aside, whatever it says and whoever says it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.event import Event
from shared.messaging.signing import KEY_ID, SIGNATURE
from shared.messaging.subscription import Forged, Subscription, Wanted, read
from tests.contracts.test_evolution import CONSUMED, record
from tests.support.facts import example
from tests.support.signing import KEYS, TRUST, made_keys, signed, signer

Forgery = Callable[[ConsumerRecord, Path], ConsumerRecord]


def _unsigned(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    kept = tuple(header for header in sent.headers if header[0] not in {KEY_ID, SIGNATURE})
    return replace(sent, headers=kept)


def _by_another(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    other = "audit" if topics.TOPICS[sent.topic].owner != "audit" else "ticket"
    return signed(sent, by=signer(other))


def _by_a_reader(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    return signed(sent, by=signer(topics.TOPICS[sent.topic].readers[0]))


def _by_a_key_that_is_gone(sent: ConsumerRecord, folder: Path) -> ConsumerRecord:
    """As one that was retired, or that the forger has made."""
    return signed(sent, by=signer(topics.TOPICS[sent.topic].owner, keys=made_keys(folder / "keys")))


def _from_another_topic(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    owner = topics.TOPICS[sent.topic].owner
    elsewhere = next(name for name in topics.TOPICS if name != sent.topic)
    return replace(signed(replace(sent, topic=elsewhere), by=signer(owner)), topic=sent.topic)


def _from_another_key(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    return replace(sent, key=b"another-ticket")


def _from_another_instance(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    return signed(sent, by=signer(topics.TOPICS[sent.topic].owner, instance="another"))


def _under_another_type(sent: ConsumerRecord, _folder: Path) -> ConsumerRecord:
    headers = tuple((name, b"7" if name == "ce_specversion" else text) for name, text in sent.headers)
    return replace(sent, headers=headers)


FORGERIES: dict[str, Forgery] = {
    "unsigned": _unsigned,
    "another service's key": _by_another,
    "a reader's key": _by_a_reader,
    "a key that is gone": _by_a_key_that_is_gone,
    "another topic": _from_another_topic,
    "another key": _from_another_key,
    "another instance": _from_another_instance,
    "another envelope": _under_another_type,
}


@pytest.mark.parametrize(("cls", "subscription"), CONSUMED)
def test_forged_fact_is_set_aside_by_every_reader(
    cls: type[Event], subscription: Subscription, tmp_path: Path
) -> None:
    honest = record(cls, subscription.topic, example(cls).model_dump_json().encode())
    assert isinstance(read(honest, subscription, TRUST), Wanted)
    for kind, forge in FORGERIES.items():
        reading = read(forge(honest, tmp_path / kind), subscription, TRUST)
        assert isinstance(reading, Forged), kind
        assert reading.error


def test_forgeries_use_other_keys_than_the_trusted() -> None:
    owners = {subscription.values[1].topic for subscription in CONSUMED}
    assert {topics.TOPICS[topic].owner for topic in owners} <= {key.service for key in KEYS.listed()}
