"""`make check`: do the lock files in requirements/ still say what pyproject.toml asks for? Needs no network.

Refuses a requirement without a fitting pin, a pin without hashes, two locks that pin one package
differently (an environment would change with whichever was installed last), and download addresses.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS: Mapping[str, tuple[str, ...]] = {"service": (), "local": ("local",), "dev": ("local", "dev")}
"""Lock file by the extras it holds, from the smallest to the one that holds all."""

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)[^\n]*(?P<rest>(?:\n[ ]+[^\n]*)*)", re.MULTILINE
)

Pins = dict[str, frozenset[str]]
"""Versions by normalised name; more than one where markers choose."""


def main() -> int:
    problems = list(find_problems(ROOT))
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        sys.stderr.write("Run `make lock` and commit requirements/.\n")
    return 1 if problems else 0


def find_problems(root: Path) -> Iterator[str]:
    """One sentence for each disagreement."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    asked = project["project"]
    texts = {name: (root / "requirements" / f"{name}.txt").read_text() for name in (*EXTRAS, "build")}
    locks = {name: _pins(text) for name, text in texts.items()}
    for name, text in texts.items():
        yield from _unfit(name, text)
    for name, extras in EXTRAS.items():
        lines = [
            *asked["dependencies"],
            *(line for one in extras for line in asked["optional-dependencies"][one]),
        ]
        yield from _unsatisfied(name, lines, locks[name])
    yield from _unsatisfied("build", project["build-system"]["requires"], locks["build"])
    for name in ("service", "local", "build"):
        yield from _differing(name, locks[name], locks["dev"])


def _pins(text: str) -> Pins:
    pins: dict[str, set[str]] = {}
    for match in _PIN.finditer(text):
        pins.setdefault(canonicalize_name(match["name"]), set()).add(match["version"])
    return {name: frozenset(versions) for name, versions in pins.items()}


def _unfit(lock: str, text: str) -> Iterator[str]:
    for match in _PIN.finditer(text):
        if "--hash=sha256:" not in match["rest"]:
            yield f"requirements/{lock}.txt: {match['name']} has no hash"
    if re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)\b|https?://", text, re.MULTILINE):
        yield f"requirements/{lock}.txt names a download address; hashes alone say what is meant"


def _unsatisfied(lock: str, lines: list[str], pins: Pins) -> Iterator[str]:
    for line in lines:
        wanted = Requirement(line)
        versions = pins.get(canonicalize_name(wanted.name), frozenset())
        if not versions or not all(
            wanted.specifier.contains(version, prereleases=True) for version in versions
        ):
            found = ", ".join(sorted(versions)) or "nothing"
            yield f"requirements/{lock}.txt: pyproject.toml asks for {line}, pinned is {found}"


def _differing(lock: str, pins: Pins, all_pins: Pins) -> Iterator[str]:
    for name, versions in sorted(pins.items()):
        if versions != all_pins.get(name):
            there = ", ".join(sorted(all_pins.get(name, frozenset()))) or "nothing"
            yield f"requirements: {lock}.txt pins {name} {', '.join(sorted(versions))}, dev.txt pins {there}"


if __name__ == "__main__":
    sys.exit(main())
