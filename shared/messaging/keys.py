"""The keys that services sign with, as files: made by `jit keys`, read by every service.

A service's own private key is one PEM file (PKCS#8). The public keys of all are the files
`<service>.<key id>.pem` of one folder; whoever may write there decides whose word counts, so no key is ever
taken from a topic. Several of a service are trusted at once, for as long as keys are being changed.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from nacl.signing import VerifyKey

from shared.observability.logs import logger

READ_EVERY_S: Final = 60.0
"""A key that was taken out of the folder is believed for so long at most."""
LOOK_AGAIN_S: Final = 5.0
"""How soon the folder is read again for a key that is not known."""

KeyName: TypeAlias = tuple[str, str]
"""A service and the id of a key of its."""

log = logger("keys")


class KeyProblem(Exception):
    """A key cannot be used; the sentence names the file and says what to do."""


def key_id(public: Ed25519PublicKey) -> str:
    """16 hexadecimal digits out of the key itself, so that a file's name cannot lie about it."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def public_name(service: str, public: Ed25519PublicKey) -> str:
    """The name of its file in the folder of public keys."""
    return f"{service}.{key_id(public)}.pem"


def read_private(file: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise KeyProblem(f"{file} cannot be read ({error.strerror}); `jit keys new` makes a key") from None
    except (ValueError, TypeError) as error:
        raise KeyProblem(f"{file} holds no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyProblem(f"{file} holds another kind of key than Ed25519; `jit keys new` makes one")
    return key


def read_public(folder: Path) -> Mapping[KeyName, VerifyKey]:
    """Every key of the folder; raises KeyProblem for a file that is not what its name says.

    As libsodium's, which checks twice as fast as OpenSSL: each service checks all that it reads.
    """
    if not folder.is_dir():
        raise KeyProblem(f"there is no folder {folder}; `jit keys new` makes it")
    found: dict[KeyName, VerifyKey] = {}
    for file in sorted(folder.glob("*.pem")):
        service, _, given_id = file.stem.partition(".")
        public = _read_public_key(file)
        if key_id(public) != given_id:
            raise KeyProblem(f"{file} holds the key {key_id(public)}: name it {public_name(service, public)}")
        if whose := next((other for other, known in found if known == given_id), None):
            raise KeyProblem(f"{file} holds a key of {whose}'s too: each service has keys of its own")
        found[service, given_id] = VerifyKey(public.public_bytes_raw())
    return found


def _read_public_key(file: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyProblem(f"{file} holds no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyProblem(f"{file} holds another kind of key than Ed25519")
    return key


@dataclass
class PublicKeys:
    """A folder of public keys, read again now and then: keys come and go while services run."""

    folder: Path
    clock: Callable[[], float] = time.monotonic
    _known: Mapping[KeyName, VerifyKey] = field(default_factory=dict)
    _read_at: float | None = None

    def check(self) -> None:
        """Read them now; raises KeyProblem."""
        self._known, self._read_at = read_public(self.folder), self.clock()

    def find(self, service: str, given_id: str) -> VerifyKey | None:
        """A key that is trusted to speak for this service."""
        key = self._known.get((service, given_id))
        if self._is_older_than(READ_EVERY_S if key else LOOK_AGAIN_S):
            self._read_again()
            key = self._known.get((service, given_id))
        return key

    def _is_older_than(self, seconds: float) -> bool:
        return self._read_at is None or self.clock() - self._read_at >= seconds

    def _read_again(self) -> None:
        """What cannot be read leaves what was known: a mistake in the folder must not stop every stop."""
        try:
            self.check()
        except KeyProblem as error:
            self._read_at = self.clock()
            log.error("public keys not read again", error=str(error))  # noqa: TRY400 (it is no bug)


@dataclass(frozen=True)
class OwnKey:
    """The key that a service signs with; read once, when it is first needed."""

    service: str
    file: Path

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        return read_private(self.file)

    @cached_property
    def id(self) -> str:
        return key_id(self.private.public_key())
