"""Keys: the service's own is there and believed, and somebody is believed for every other service."""

from collections.abc import Iterator
from typing import Final

from cli.doctor.findings import Finding, fail, ok, warn
from shared.database.migrate import SERVICES
from shared.foundation.settings import ServiceSettings
from shared.messaging.keys import KeyProblem, OwnKey, PublicKeys, read_public
from shared.messaging.signing import Signer

_SEVERAL: Final = 2


async def check_keys(service: str, settings: ServiceSettings) -> list[Finding]:
    return list(_keys(service, settings))


def _keys(service: str, settings: ServiceSettings) -> Iterator[Finding]:
    own = OwnKey(service, settings.signing_key_file)
    try:
        Signer(settings.instance, own, PublicKeys(settings.public_keys_dir)).check()
        yield ok("keys.own", f"signs with {own.id}, which others believe")
    except KeyProblem as error:
        yield fail("keys.own", str(error), "docs/runbook.md, Keys")
    if settings.signing_key_file.exists() and settings.signing_key_file.stat().st_mode & 0o077:
        yield warn("keys.own", "others on this machine may read the private key", "chmod 600 its file")
    try:
        known = [name for name, _ in read_public(settings.public_keys_dir)]
    except KeyProblem as error:
        yield fail("keys.others", str(error), "docs/runbook.md, Keys")
        return
    if missing := [name for name in SERVICES if name not in known]:
        yield fail(
            "keys.others", f"no key of {', '.join(missing)}: nothing that they say is believed",
            "bring their files out of public/ of the folder that `jit keys` writes",
        )  # fmt: skip
    elif changing := [name for name in SERVICES if known.count(name) >= _SEVERAL]:
        yield warn(
            "keys.others", f"several keys of {', '.join(changing)} are believed",
            "finish the change of keys: `jit keys retire`, and take the old file away everywhere",
        )  # fmt: skip
    else:
        yield ok("keys.others", "one key of each service is believed")
