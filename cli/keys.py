"""`jit keys`: the keys by which services prove that it was they who said something.

A change of keys: `new` makes the next one; once every service has its public part (they look for it within a
minute) it is moved over signing.pem and its service started again; `retire` ends the old one.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from aiokafka.errors import KafkaError

from shared.database.migrate import SERVICES
from shared.foundation.environment import load
from shared.foundation.settings import KafkaSettings
from shared.messaging.key_folder import KeyFolder, ListedKey
from shared.messaging.key_use import KeyUse, use_of
from shared.messaging.keys import KeyProblem

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

Folder = Annotated[Path, typer.Option("--folder", help="Where keys are kept; it holds private ones.")]
_HERE: Final = Path("keys")
MISSING: Final = "A key for each service that has none."
STOLEN: Final = "At once, whatever it signed; then have the service send everything again (docs/runbook.md)."


@app.command()
def new(
    services: Annotated[list[str] | None, typer.Argument(metavar="SERVICE...")] = None,
    *,
    missing: Annotated[bool, typer.Option("--missing", help=MISSING)] = False,
    folder: Folder = _HERE,
) -> None:
    """Make a key for each of these services: the first one, or the next."""
    keys = KeyFolder(folder)
    wanted = [name for name in SERVICES if not keys.signing_file(name).exists()] if missing else services
    if unknown := sorted(set(wanted or ()) - set(SERVICES)):
        _refuse(f"{unknown[0]} is no service; choose of {', '.join(SERVICES)}")
    if not wanted and not missing:
        _refuse("name the services, or say --missing")
    try:
        for name in wanted or ():
            print(keys.make(name))
    except (KeyProblem, OSError) as error:
        _refuse(str(error))


@app.command("list")
def list_keys(*, folder: Folder = _HERE) -> None:
    """Each key and what it is for: signing, next, trusted (its private part is elsewhere), retired."""
    try:
        for key in KeyFolder(folder).listed():
            print(f"{key.service:12} {key.id}  {key.use}")
    except (KeyProblem, OSError) as error:
        _refuse(str(error))


@app.command()
def retire(
    key_id: str,
    *,
    stolen: Annotated[bool, typer.Option("--stolen", help=STOLEN)] = False,
    folder: Folder = _HERE,
) -> None:
    """Let nobody believe a key any more, once nothing stands at the broker that it signed."""
    keys = KeyFolder(folder)
    try:
        key = _trusted(keys, key_id)
        if not stolen and (why := why_not_yet(key, _use_of(key))):
            _refuse(why)
        keys.retire(key.service, key.id)
    except (KeyProblem, KafkaError, OSError) as error:
        _refuse(f"{type(error).__name__}: {error}")
    print(f"{key.service:12} {key.id}  retired; take its file out of every service's folder, too")


def why_not_yet(key: ListedKey, use: KeyUse) -> str | None:
    """Why a key cannot be retired now, and what to do."""
    if not use.newer_key:
        return (
            f"nothing at the broker is signed by another key of {key.service}'s: make one, start "
            f"{key.service} with it, and wait until it has said something"
        )
    if use.documents:
        return (
            f"documents on {', '.join(use.documents)} are signed with it: have them published anew, by "
            f"POST /v1/ops/{key.service}/documents/republish"
        )
    if use.facts:
        return (
            f"facts on {', '.join(use.facts)} are signed with it, and whoever reads them would not believe "
            "them: wait until their retention has passed"
        )
    return None


def _use_of(key: ListedKey) -> KeyUse:
    return asyncio.run(use_of(load(KafkaSettings), key.service, key.id))


def _trusted(keys: KeyFolder, key_id: str) -> ListedKey:
    for key in keys.listed():
        if key.id == key_id and key.use != "retired":
            return key
    raise KeyProblem(f"{keys.public} has no key {key_id}; see `jit keys list`")


def _refuse(why: str) -> NoReturn:
    print(f"jit keys: {why}", file=sys.stderr)
    raise typer.Exit(2)
