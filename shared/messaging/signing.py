"""Who sent a record: an Ed25519 signature by its topic's owner over everything that places and is it.

`ce_source` is the sender's word and proves nothing. The relay signs as it sends, so that what is sent again
carries today's key; every reader checks before anything else is believed.
"""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiokafka import ConsumerRecord
from nacl.exceptions import BadSignatureError

from shared.messaging.envelope import Undecodable
from shared.messaging.keys import KeyProblem, OwnKey, PublicKeys

KEY_ID: Final = "jit_keyid"
SIGNATURE: Final = "jit_signature"
_PURPOSE: Final = b"jit record 1"
"""So that no signature made for something else is one for a record."""
_NOTHING: Final = (1 << 32) - 1
"""Where a length stands: there is no value at all, which is not an empty one."""

Headers: TypeAlias = Collection[tuple[str, bytes | None]]


class Unproven(Undecodable):
    """Nobody who may write to the topic has signed the record."""


def content_of(
    *, instance: str, topic: str, key: bytes | None, headers: Headers, value: bytes | None
) -> bytes:
    """What is signed. Each part has its length before it, so that no two records have the same content.

    All CloudEvents headers are in it, in the order of their names; trace context is not, which anything on
    the way may change.
    """
    said = sorted(
        ((name, text) for name, text in headers if name.startswith("ce_") or name == "content-type"),
        key=lambda header: (header[0], header[1] is not None, header[1] or b""),
    )
    parts: list[bytes | None] = [_PURPOSE, instance.encode(), topic.encode(), key]
    for name, text in said:
        parts += [name.encode(), text]
    return len(said).to_bytes(4, "big") + b"".join(_with_length(part) for part in (*parts, value))


def _with_length(part: bytes | None) -> bytes:
    return _NOTHING.to_bytes(4, "big") if part is None else len(part).to_bytes(4, "big") + part


@dataclass(frozen=True)
class Signer:
    """Signs what one service of one instance sends."""

    instance: str
    key: OwnKey
    trusted: PublicKeys

    def check(self) -> None:
        """Raises KeyProblem where there is no key, or where nobody would believe it."""
        _ = self.key.private
        self.trusted.check()
        if self.trusted.find(self.key.service, self.key.id) is None:
            raise KeyProblem(
                f"{self.key.file} is the key {self.key.id}, which is not in {self.trusted.folder} as "
                f"{self.key.service}.{self.key.id}.pem: nobody would believe what it signs"
            )

    def signed(
        self, headers: Headers, *, topic: str, key: bytes | None, value: bytes | None
    ) -> list[tuple[str, bytes | None]]:
        """The headers with the proof behind them."""
        content = content_of(instance=self.instance, topic=topic, key=key, headers=headers, value=value)
        signature = base64.b64encode(self.key.private.sign(content))
        return [*headers, (KEY_ID, self.key.id.encode()), (SIGNATURE, signature)]


@dataclass(frozen=True)
class Trust:
    """Whose records are believed in one instance."""

    instance: str
    keys: PublicKeys

    def check(self, record: ConsumerRecord, *, owner: str) -> None:
        """Raises `Unproven`, unless the topic's owner sent exactly this record to exactly this place."""
        key_id, signature = _proof_in(record.headers)
        public = self.keys.find(owner, key_id)
        if public is None:
            raise Unproven(f"it is signed with the key {key_id[:32]!r}, which is no trusted key of {owner}'s")
        content = content_of(
            instance=self.instance,
            topic=record.topic,
            key=record.key,
            headers=record.headers,
            value=record.value,
        )
        try:
            public.verify(content, signature)
        except (BadSignatureError, ValueError):
            raise Unproven(f"its signature is not {owner}'s over this record at this place") from None


def _proof_in(headers: Headers) -> tuple[str, bytes]:
    """The id of the key and the signature; `Unproven` where there is not exactly one of each."""
    ids = [text for name, text in headers if name == KEY_ID]
    signatures = [text for name, text in headers if name == SIGNATURE]
    if len(ids) != 1 or len(signatures) != 1 or ids[0] is None or signatures[0] is None:
        raise Unproven(f"it is not signed: it wants one header {KEY_ID} and one {SIGNATURE}")
    try:
        return ids[0].decode("ascii"), base64.b64decode(signatures[0], validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise Unproven(f"{KEY_ID} or {SIGNATURE} is not text of the expected form") from None
