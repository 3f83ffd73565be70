"""Settings out of the environment and a folder of secrets: read whole, or refused with a line for each fault.

A name that no process of JIT reads is a fault as well: a misspelled setting would otherwise change nothing,
and nobody would notice. The names are in setting_names.txt, which `make generate` writes.
"""

import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

SettingsT = TypeVar("SettingsT", bound=BaseSettings)

SECRETS_DIR: Final = "JIT_SECRETS_DIR"
PREFIX: Final = "JIT_"
OF_TESTS: Final = ("JIT_TEST_", "JIT_CI_", "JIT_WRITE_", "JIT_KAFKA_LIBS", "JIT_ENGINE_")
"""What tests and CI go by: no setting of a process, and refused in production."""
_NAMES: Final = Path(__file__).with_name("setting_names.txt")


class WrongSettings(Exception):
    """Settings that cannot be used: one line for each, beginning with the variable's name."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def known_names() -> frozenset[str]:
    """Every setting of every process, since one environment may serve them all."""
    return frozenset(_NAMES.read_text(encoding="utf-8").split())


def read(cls: type[SettingsT], **given: Any) -> SettingsT:
    """Settings out of the environment and the folder of secrets; raises `WrongSettings`."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    folder = _secrets_dir()
    if unknown := list(_unknown(folder)):
        raise WrongSettings(unknown)
    try:
        return cls(_secrets_dir=folder, **given)
    except ValidationError as error:
        # Values themselves are not in it: they may be secrets.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [_line(prefix, problem["loc"], problem["msg"]) for problem in found]
        raise WrongSettings("\n".join(lines).splitlines()) from None
    except SettingsError as error:
        name = re.search(r'field "(\w+)"', str(error))
        loc = (name[1],) if name else ()
        raise WrongSettings([_line(prefix, loc, "must be JSON, such as a list in brackets")]) from None


def load(cls: type[SettingsT], **given: Any) -> SettingsT:
    """Read settings or leave with exit code 2, naming each variable that is missing or wrong."""
    try:
        return read(cls, **given)
    except WrongSettings as error:
        print("\n".join(error.lines), file=sys.stderr)  # noqa: T201 (before logs exist)
        raise SystemExit(2) from None


def of_tests() -> list[str]:
    """The names in the environment that only tests and CI go by: nothing that production is started with."""
    return sorted(name for name in _ours() if name.startswith(OF_TESTS))


def _ours() -> dict[str, str]:
    """Our part of the environment in capital letters, since settings are read whatever the case."""
    found = {name.upper(): value for name, value in os.environ.items()}
    return {name: value for name, value in found.items() if name.startswith(PREFIX)}


def _secrets_dir() -> str | None:
    folder = _ours().get(SECRETS_DIR)
    if folder and not Path(folder).is_dir():
        raise WrongSettings([f"{SECRETS_DIR}: there is no such folder"])
    return folder


def _unknown(folder: str | None) -> Iterator[str]:
    """A line for each name of ours, in the environment or the folder, that nothing reads."""
    known = known_names() | {SECRETS_DIR}
    files = [file.name.upper() for file in Path(folder).iterdir()] if folder else []
    for name in sorted({*_ours(), *(file for file in files if file.startswith(PREFIX))}):
        if name not in known and not name.startswith(OF_TESTS):
            yield f"{name}: there is no such setting{_nearest(name, known)}; all are in docs/settings.md"


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _line(prefix: str, loc: tuple[int | str, ...], message: str) -> str:
    """`JIT_ISSUERS: 0.audience: Field required`; a rule about several variables names them itself."""
    message = message.removeprefix("Value error, ")
    inside = "".join(f"{part}: " for part in (".".join(map(str, loc[1:])),) if part)
    return f"{prefix}{str(loc[0]).upper()}: {inside}{message}" if loc else message
