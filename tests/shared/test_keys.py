"""Keys as files: what is made, who may read it, and what is refused with a sentence that says what to do."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from shared.messaging.key_folder import KeyFolder, ListedKey
from shared.messaging.keys import KeyProblem, PublicKeys, key_id, read_private, read_public
from tests.support.signing import made_keys, signer

PEM = serialization.Encoding.PEM
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return made_keys(tmp_path / "keys")


def id_of(file: Path) -> str:
    return key_id(read_private(file).public_key())


def test_private_keys_are_for_their_owner_only(keys: KeyFolder) -> None:
    for file in (keys.path / "private").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    assert keys.public.stat().st_mode & 0o055 == 0o055, "every service reads the public ones"


def test_first_key_is_the_one_that_signs_and_the_second_waits(keys: KeyFolder) -> None:
    first = id_of(keys.signing_file("audit"))
    second = id_of(keys.make("audit"))
    assert keys.next_file("audit").exists()
    assert {(key.id, key.use) for key in keys.listed() if key.service == "audit"} == {
        (first, "signing"),
        (second, "next"),
    }
    with pytest.raises(KeyProblem, match=r"next\.pem waits to be used"):
        keys.make("audit")


def test_retired_key_leaves_no_private_part_and_stays_listed(keys: KeyFolder) -> None:
    old = id_of(keys.signing_file("audit"))
    new = id_of(keys.make("audit"))
    keys.retire("audit", old)
    assert not keys.signing_file("audit").exists()
    assert {key for key in keys.listed() if key.service == "audit"} == {
        ListedKey("audit", old, "retired"),
        ListedKey("audit", new, "next"),
    }


def test_public_key_of_a_service_whose_private_one_is_elsewhere_is_listed_as_trusted(keys: KeyFolder) -> None:
    shutil.rmtree(keys.path / "private" / "ticket")
    assert [key.use for key in keys.listed() if key.service == "ticket"] == ["trusted"]


def test_key_that_is_not_in_the_public_folder_signs_nothing(keys: KeyFolder) -> None:
    signer("ticket", keys=keys).check()
    next(keys.public.glob("ticket.*")).unlink()
    with pytest.raises(KeyProblem, match="nobody would believe what it signs"):
        signer("ticket", keys=keys).check()


def test_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="there is no folder"):
        PublicKeys(tmp_path / "none").check()


@pytest.mark.parametrize(
    ("name", "what", "said"),
    [
        ("ticket.0123456789abcdef.pem", "its own", "name it ticket."),
        ("approval.{id}.pem", "its own", "a key of ticket's too|a key of approval's too"),
        ("ticket.{id}.pem", "private", "holds no public key"),
        ("ticket.{id}.pem", "junk", "holds no public key"),
        ("ticket.{id}.pem", "another kind", "another kind of key"),
    ],
)
def test_file_that_is_not_what_its_name_says_is_refused(
    keys: KeyFolder, name: str, what: str, said: str
) -> None:
    own = signer("ticket", keys=keys).key
    contents = {
        "its own": own.private.public_key().public_bytes(PEM, PUBLIC),
        "private": own.file.read_bytes(),
        "junk": b"\x00",
        "another kind": generate_private_key(SECP256R1()).public_key().public_bytes(PEM, PUBLIC),
    }
    (keys.public / name.format(id=own.id)).write_bytes(contents[what])
    with pytest.raises(KeyProblem, match=said):
        read_public(keys.public)


def test_folder_that_went_wrong_later_leaves_what_was_known(keys: KeyFolder) -> None:
    now = [0.0]
    known = PublicKeys(keys.public, clock=lambda: now[0])
    own = signer("ticket", keys=keys).key
    assert known.find("ticket", own.id) is not None
    (keys.public / "ticket.junk.pem").write_bytes(b"")
    now[0] = 1000.0
    assert known.find("ticket", own.id) is not None
