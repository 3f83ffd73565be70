"""`make mutants`: breaks the provisioner in one place at a time; its tests must fail on each mutant.

JSON lines: `killed` and by which test, or `survived`; the last line counts.
Works on copies of the tree, never on the tree itself. For a mutant of the domain the tests that need nothing
run first; then those of the provisioner, the most telling ones first. `ARGS="--only decisions --jobs 2"`.

Exit 2 where a mutant cannot be made (its text is gone, or stands there twice) or the tests fail without one.
"""

import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.mutations.every import MUTANTS
from bench.mutations.mutant import Mutant
from tests.support.servers import embedded_postgres

ROOT: Final = Path(__file__).resolve().parent.parent
CODE: Final = Path("services/provisioner")
TESTS: Final = Path("tests/provisioner")
PURE: Final = (
    "test_domain",
    "test_bindings_domain",
    "test_truth_domain",
    "test_mutants_domain",
    "test_mutants_ends",
    "test_inventory_guard",
    "test_inventory_parts",
)
"""Tests of the domain, which need neither a database nor the simulator: seconds."""
TELLING: Final = {
    "alarms": ("test_alerts",),
    "calls": ("test_shared_reads",),
    "bindings": ("test_bindings", "test_people"),
    "extensions": ("test_extensions",),
    "judging": ("test_approvals", "test_commands"),
    "rechecks": ("test_approvals", "test_commands"),
    "remaining": ("test_stops", "test_http"),
    "sentences": ("test_http",),
    "queue": ("test_queue",),
    "readings": ("test_inventory_resumes", "test_inventory_changes"),
    "engine": ("test_spacing", "test_mutants_engine", "test_revokes_first", "test_lease"),
    "limits": ("test_limits", "test_lease"),
    "looking": ("test_mutants_looks", "test_revokes_first", "test_people"),
    "polling": ("test_mutants_engine", "test_storms"),
    "reads": ("test_shared_reads",),
    "sending": ("test_stops_in_time", "test_lease"),
    "set_digests": ("test_truth",),
    "stops": ("test_truth_stops", "test_stops"),
    "turns": ("test_turns", "test_storms"),
    "unread": ("test_alerts", "test_aws_faults"),
    "visit": ("test_mutants_looks", "test_aws_clock", "test_pause", "test_alerts"),
}
"""By file, what is likely to fail first. The rest of the provisioner's tests follow."""
USUAL: Final = (
    "test_mutants_engine",
    "test_reconcile",
    "test_never_granted",
    "test_aws_faults",
    "test_truth",
)
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "data")
_TRIES = 3
_FAILED = 1
"""What pytest leaves with when tests failed; anything else means that it could not run them."""


class Unusable(Exception):
    """The run says nothing; the sentence says why."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="a pattern: package, file or what it breaks")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stages", type=int, default=3, help="1: only the first to be run; seconds")
    parser.add_argument("--unproven", action="store_true", help="do not run the tests without a mutant first")
    parser.add_argument("--check", action="store_true", help="only whether every mutant can be made")
    given = parser.parse_args()
    try:
        check(MUTANTS)
        chosen = [
            mutant
            for mutant in MUTANTS
            if re.search(given.only, f"{mutant.package} {find(mutant, ROOT / CODE).stem} {mutant.breaks}")
        ]
        return 0 if given.check else _run(chosen, given)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2


def check(mutants: Sequence[Mutant], *, code: Path = ROOT / CODE) -> None:
    """Raises Unusable with all mutants that cannot be made."""
    wrong = []
    for mutant in mutants:
        try:
            find(mutant, code)
        except Unusable as error:
            wrong.append(f"{mutant.package}: {mutant.breaks}: {error}")
    names = Counter(mutant.breaks for mutant in mutants)
    wrong += [f"{name}: named {times} times" for name, times in names.items() if times > 1]
    if wrong:
        raise Unusable("These mutants have to be written anew:\n" + "\n".join(wrong))


def find(mutant: Mutant, code: Path) -> Path:
    """The file that it changes. Raises Unusable where there is not exactly one place for it."""
    counts = {path: path.read_text().count(mutant.old) for path in (code / mutant.package).glob("*.py")}
    if (times := sum(counts.values())) != 1:
        raise Unusable(f"its text stands there {times} times")
    (found,) = (path for path, count in counts.items() if count)
    try:
        compile(found.read_text().replace(mutant.old, mutant.new), found.name, "exec")
    except SyntaxError as error:
        raise Unusable(f"what it makes is no Python: {error}") from error
    return found


def _run(mutants: Sequence[Mutant], given: argparse.Namespace) -> int:
    places: queue.SimpleQueue[Place] = queue.SimpleQueue()
    printing = threading.Lock()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="jit-mutants-")))
        server = running.enter_context(embedded_postgres())
        for number in range(given.jobs):
            place = Place(_copy(folder / str(number)), _environment(server.admin_dsn))
            running.callback(place.close)
            places.put(place)
        if not given.unproven:
            _must_pass(place)

        def one(mutant: Mutant) -> str:
            place = places.get()
            try:
                line = _try(mutant, place, stages=given.stages)
            finally:
                places.put(place)
            with printing:
                print(json.dumps(line), flush=True)
            return str(line["outcome"])

        with ThreadPoolExecutor(given.jobs) as workers:
            counts = Counter(workers.map(one, mutants))
    print(json.dumps({"bench": "mutants", "mutants": len(mutants), **counts}))
    return 1 if counts["survived"] else 0


class Place:
    """A copy of the tree, in which one mutant at a time is tried."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._server: Any = subprocess.Popen(
            [sys.executable, "-m", "bench.mutants_server"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def test(self, files: Sequence[str]) -> tuple[int, str]:
        """Pytest's exit code, and what it printed."""
        asked = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not compose and not more", *files]
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return answer["code"], answer["printed"]

    def close(self) -> None:
        self._server.kill()
        self._server.wait()


def _copy(folder: Path) -> Path:
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    return folder


def _environment(admin_dsn: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    }
    return {**kept, "JIT_TEST_DATABASE_DSN": admin_dsn}


def _must_pass(place: Place) -> None:
    """Without a mutant; a test that fails by itself would kill them all."""
    code, printed = place.test([str(TESTS)])
    if code:
        raise Unusable(f"The tests fail without a mutant:\n{printed[-3000:]}")


def _try(mutant: Mutant, place: Place, *, stages: int) -> dict[str, Any]:
    file = find(mutant, place.folder / CODE)
    text = file.read_text()
    started = time.monotonic()
    _write(file, text.replace(mutant.old, mutant.new))
    try:
        by = _killed_by(file, place, stages)
    finally:
        _write(file, text)
    return {
        "mutant": mutant.breaks,
        "file": str(file.relative_to(place.folder / CODE)),
        "outcome": "killed" if by else "survived",
        "by": by,
        "seconds": round(time.monotonic() - started, 1),
    }


def _write(file: Path, text: str) -> None:
    """Two seconds younger than what it replaces: else Python may take what it compiled from that."""
    younger = file.stat().st_mtime + 2
    file.write_text(text)
    os.utime(file, (younger, younger))


def _killed_by(mutated: Path, place: Place, stages: int) -> str | None:
    """The first test that fails, and fails again by itself: one that fails now and then kills nothing."""
    for files in _stages(mutated, place.folder)[:stages]:
        for _ in range(_TRIES):
            failed = _first_failure(mutated, place, files)
            if failed is None:
                break
            if _first_failure(mutated, place, [failed]):
                return failed
    return None


def _first_failure(mutated: Path, place: Place, tests: Sequence[str]) -> str | None:
    code, printed = place.test(tests)
    if code == _FAILED:
        failed = (line for line in printed.splitlines() if line.startswith(("FAILED ", "ERROR ")))
        return next(failed).partition(" ")[2].partition(" - ")[0]
    if code:
        raise Unusable(f"{mutated.name}: the tests cannot be run:\n{printed[-3000:]}")
    return None


def _stages(mutated: Path, copy: Path) -> list[list[str]]:
    pure = _existing(copy, PURE) if mutated.parent.name == "domain" else []
    telling = _existing(copy, (*TELLING.get(mutated.stem, ()), *USUAL))
    first = list(dict.fromkeys(telling))
    every = sorted(str(path.relative_to(copy)) for path in (copy / TESTS).glob("test_*.py"))
    stages = [pure, first, [path for path in every if path not in {*pure, *first}]]
    return [stage for stage in stages if stage]


def _existing(copy: Path, names: Sequence[str]) -> list[str]:
    paths = [TESTS / f"{name}.py" for name in names]
    return [str(path) for path in paths if (copy / path).exists()]


if __name__ == "__main__":
    sys.exit(main())
