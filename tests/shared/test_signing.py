"""What a signature proves: this owner, this instance, this place, this record; and nothing without it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import topics
from shared.messaging.envelope import Undecodable
from shared.messaging.key_folder import KeyFolder
from shared.messaging.keys import PublicKeys
from shared.messaging.signing import KEY_ID, SIGNATURE, Trust, Unproven, content_of
from tests.support.signing import INSTANCE, KEYS, TRUST, made_keys, signed, signer

HEADERS: tuple[tuple[str, bytes | None], ...] = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_type", b"review.approved.v1"),
    ("ce_source", b"approval"),
    ("content-type", b"application/json"),
    ("traceparent", b"00-1-1-01"),
)


def record(**changes: Any) -> ConsumerRecord:
    plain = ConsumerRecord(
        topic=topics.APPROVAL, partition=0, offset=0, timestamp=0, timestamp_type=0, key=b"k", value=b"{}",
        checksum=None, serialized_key_size=1, serialized_value_size=2, headers=HEADERS,
    )  # fmt: skip
    return replace(plain, **changes)


def with_header(record: ConsumerRecord, name: str, text: bytes | None) -> ConsumerRecord:
    others = tuple(header for header in record.headers if header[0] != name)
    return replace(record, headers=(*others, (name, text)))


GOOD = signed(record())


def test_record_of_its_owner_is_believed_wherever_it_arrives() -> None:
    TRUST.check(GOOD, owner="approval")
    TRUST.check(replace(GOOD, partition=5, offset=9, timestamp=17), owner="approval")
    TRUST.check(with_header(GOOD, "traceparent", b"00-2-2-00"), owner="approval")
    TRUST.check(replace(GOOD, headers=tuple(reversed(GOOD.headers))), owner="approval")
    TRUST.check(signed(record(key=None, value=None)), owner="approval")


FORGED = {
    "unsigned": record(),
    "another service's key": signed(record(), by=signer("ticket")),
    "another instance": signed(record(), by=signer("approval", instance="other")),
    "another topic": replace(GOOD, topic=topics.ACCESS),
    "another key": replace(GOOD, key=b"l"),
    "no key": replace(GOOD, key=None),
    "another value": replace(GOOD, value=b"[]"),
    "no value": replace(GOOD, value=None),
    "another id": with_header(GOOD, "ce_id", b"2"),
    "a header more": with_header(GOOD, "ce_mustunderstand", b"actor"),
    "a header twice": replace(GOOD, headers=(*GOOD.headers, ("ce_id", b"1"))),
    "a header less": replace(GOOD, headers=tuple(one for one in GOOD.headers if one[0] != "ce_source")),
    "an empty header for none": signed(record(headers=(*HEADERS, ("ce_subject", None)))),
    "no signature": replace(GOOD, headers=tuple(one for one in GOOD.headers if one[0] != SIGNATURE)),
    "two signatures": replace(GOOD, headers=(*GOOD.headers, (SIGNATURE, b"AAAA"))),
    "no id of a key": replace(GOOD, headers=tuple(one for one in GOOD.headers if one[0] != KEY_ID)),
    "an unknown key": with_header(GOOD, KEY_ID, b"0" * 16),
    "the id of another's key": with_header(GOOD, KEY_ID, signer("ticket").key.id.encode()),
    "an id that is no text": with_header(GOOD, KEY_ID, b"\xff"),
    "a signature that is no base64": with_header(GOOD, SIGNATURE, b"*"),
    "a signature too short": with_header(GOOD, SIGNATURE, b"AAAA"),
    "a signature too long": with_header(GOOD, SIGNATURE, b"A" * 88 + b"AAAA"),
    "null proof": with_header(GOOD, SIGNATURE, None),
}
FORGED["an empty header for none"] = with_header(FORGED["an empty header for none"], "ce_subject", b"")


@pytest.mark.parametrize("kind", FORGED)
def test_forged_record_is_not_believed(kind: str) -> None:
    with pytest.raises(Unproven):
        TRUST.check(FORGED[kind], owner="approval")


def test_unproven_is_a_kind_of_undecodable_so_that_nobody_retries_it() -> None:
    assert issubclass(Unproven, Undecodable)


def test_key_that_was_retired_is_not_believed_any_more(tmp_path: Path) -> None:
    keys = made_keys(tmp_path / "keys")
    old = signer("approval", keys=keys)
    now = [0.0]
    trust = Trust(INSTANCE, PublicKeys(keys.public, clock=lambda: now[0]))
    sent = signed(record(), by=old)
    trust.check(sent, owner="approval")
    keys.make("approval")
    keys.retire("approval", old.key.id)
    now[0] = 59.0
    trust.check(sent, owner="approval")
    now[0] = 60.0
    with pytest.raises(Unproven, match="no trusted key"):
        trust.check(sent, owner="approval")


def test_next_key_is_believed_within_seconds_beside_the_present_one(tmp_path: Path) -> None:
    keys = made_keys(tmp_path / "keys")
    now = [0.0]
    trust = Trust(INSTANCE, PublicKeys(keys.public, clock=lambda: now[0]))
    present = signed(record(), by=signer("approval", keys=keys))
    trust.check(present, owner="approval")
    keys.make("approval").replace(keys.signing_file("approval"))
    newer = signed(record(), by=signer("approval", keys=keys))
    assert dict(newer.headers)[KEY_ID] != dict(present.headers)[KEY_ID]
    now[0] = 4.9
    with pytest.raises(Unproven):
        trust.check(newer, owner="approval")
    now[0] = 5.0
    trust.check(newer, owner="approval")
    trust.check(present, owner="approval")


PARTS = st.tuples(
    st.text(max_size=3),
    st.text(max_size=3),
    st.none() | st.binary(max_size=3),
    st.lists(
        st.tuples(st.sampled_from(["ce_a", "ce_b", "ce_"]), st.none() | st.binary(max_size=2)), max_size=3
    ),
    st.none() | st.binary(max_size=3),
)


@given(PARTS, PARTS)
def test_different_records_never_have_the_same_content(one: Any, other: Any) -> None:
    """Whatever stands where: no part can be taken for the end of its neighbour."""

    def content(parts: Any) -> bytes:
        instance, topic, key, headers, value = parts
        return content_of(instance=instance, topic=topic, key=key, headers=headers, value=value)

    def said(parts: Any) -> Any:
        *rest, headers, value = parts
        return (*rest, sorted(headers, key=repr), value)

    assert (content(one) == content(other)) == (said(one) == said(other))


def test_public_folder_holds_no_private_key() -> None:
    assert not [file for file in KEYS.public.iterdir() if b"PRIVATE" in file.read_bytes()]
    assert isinstance(KEYS, KeyFolder)
