"""A folder in which `jit keys` keeps the keys of all services, and from which they are handed out.

    public/<service>.<key id>.pem     to every service
    private/<service>/signing.pem     to that service alone: the key it signs with
    private/<service>/next.pem        the key it will sign with, while keys are being changed
    retired/<service>.<key id>.pem    public keys that nobody believes any more

The embedded run and the compose file use the same layout. Only the folder's owner may read private keys.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.messaging.keys import KeyProblem, key_id, public_name, read_private, read_public

Use: TypeAlias = Literal["signing", "next", "trusted", "retired"]
"""What a key is for now: `trusted` is a public key without its private one here."""


@dataclass(frozen=True)
class ListedKey:
    service: str
    id: str
    use: Use


@dataclass(frozen=True)
class KeyFolder:
    """Nothing here talks to a broker: whether a key may be retired is asked elsewhere."""

    path: Path

    @property
    def public(self) -> Path:
        return self.path / "public"

    def signing_file(self, service: str) -> Path:
        return self.path / "private" / service / "signing.pem"

    def next_file(self, service: str) -> Path:
        return self.path / "private" / service / "next.pem"

    def make(self, service: str) -> Path:
        """A new key of this service, trusted at once; returns the file of its private part.

        The first is the one it signs with. Raises KeyProblem where a next one is there already.
        """
        file = self.signing_file(service)
        if file.exists():
            file = self.next_file(service)
        if file.exists():
            raise KeyProblem(
                f"{file} waits to be used: move it over {self.signing_file(service).name} and start "
                f"{service} again, or delete it"
            )
        key = Ed25519PrivateKey.generate()
        # The public part first: a private one alone would sign what nobody believes.
        self._write_public(service, key.public_key())
        _write_private(file, key)
        return file

    def listed(self) -> Iterator[ListedKey]:
        """All there are, by service; raises KeyProblem for a file that is not what its name says."""
        trusted = read_public(self.public) if self.public.is_dir() else {}
        for service, given_id in sorted(trusted):
            yield ListedKey(service, given_id, self._use_of(service, given_id))
        for file in sorted((self.path / "retired").glob("*.pem")):
            service, _, given_id = file.stem.partition(".")
            yield ListedKey(service, given_id, "retired")

    def retire(self, service: str, given_id: str) -> None:
        """Nobody believes the key from within a minute on. Its private part, where it is here, is deleted."""
        for file in (self.signing_file(service), self.next_file(service)):
            if _holds(file, given_id):
                file.unlink()
        retired = self.path / "retired"
        retired.mkdir(exist_ok=True)
        name = f"{service}.{given_id}.pem"
        (self.public / name).rename(retired / name)

    def _use_of(self, service: str, given_id: str) -> Use:
        if _holds(self.signing_file(service), given_id):
            return "signing"
        return "next" if _holds(self.next_file(service), given_id) else "trusted"

    def _write_public(self, service: str, key: Ed25519PublicKey) -> None:
        self.public.mkdir(parents=True, exist_ok=True)
        text = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (self.public / public_name(service, key)).write_bytes(text)


def _holds(file: Path, given_id: str) -> bool:
    return file.exists() and key_id(read_private(file).public_key()) == given_id


def _write_private(file: Path, key: Ed25519PrivateKey) -> None:
    """A new file, readable by its owner only; never over another key."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(text)
