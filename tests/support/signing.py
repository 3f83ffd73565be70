"""Keys of the five services, made once for a run of tests, and records signed with them."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.database.migrate import SERVICES
from shared.messaging.key_folder import KeyFolder
from shared.messaging.keys import OwnKey, PublicKeys
from shared.messaging.signing import KEY_ID, SIGNATURE, Signer, Trust

INSTANCE = "default"


def made_keys(folder: Path) -> KeyFolder:
    """A folder with a key of each service."""
    keys = KeyFolder(folder)
    for service in SERVICES:
        keys.make(service)
    return keys


KEYS = made_keys(Path(tempfile.mkdtemp(prefix="jit-keys-")))
atexit.register(shutil.rmtree, KEYS.path, ignore_errors=True)
TRUST = Trust(INSTANCE, PublicKeys(KEYS.public))


def key_settings(service: str, keys: KeyFolder = KEYS) -> dict[str, Any]:
    """The settings by which a service finds its key and those of the others."""
    return {"signing_key_file": keys.signing_file(service), "public_keys_dir": keys.public}


def signer(service: str, *, keys: KeyFolder = KEYS, instance: str = INSTANCE) -> Signer:
    return Signer(instance, OwnKey(service, keys.signing_file(service)), PublicKeys(keys.public))


def signed_headers(
    headers: Iterable[tuple[str, bytes | None]],
    *,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    by: Signer | None = None,
) -> list[Any]:
    """Signed as they are, however wrong; by the topic's owner unless said otherwise."""
    return (by or signer(topics.TOPICS[topic].owner)).signed(
        tuple(headers), topic=topic, key=key, value=value
    )


def signed(record: ConsumerRecord, *, by: Signer | None = None) -> ConsumerRecord:
    """The same record as its topic's owner sends it; what it was signed with before is gone."""
    naked = [header for header in record.headers if header[0] not in {KEY_ID, SIGNATURE}]
    headers = signed_headers(naked, topic=record.topic, key=record.key, value=record.value, by=by)
    return replace(record, headers=tuple(headers))


def as_bytes(headers: Iterable[tuple[str, str]]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in headers]
