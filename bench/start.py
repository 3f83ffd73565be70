"""How long the first start takes, with the shipped organisation and with one of 2,000 accounts; JSON lines.

Each is `python -m local` as a person starts it, in a folder of its own and until it says that it is ready.
`python -m bench.start [--accounts 2000] [--only shipped|large]`
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from local.postgres_home import remove_home
from local.processes import free_ports, last_lines, spawn, wait_until
from simulator.directory_file import SHIPPED, load_directory

ROOT: Final = Path(__file__).parents[1]
TARGETS_S: Final = {"shipped": 10.0, "large": 40.0}
LONGEST_S: Final = 300.0
STOPPED_WITHIN_S: Final = 60.0
_PORTS: Final = ("--port", "--simulator-port", "--smtp-port")
_READY: Final = re.compile(r"^Ready after ([0-9.]+) s\.", re.MULTILINE)


@contextmanager
def folder() -> Iterator[Path]:
    """A place for data and log that PostgreSQL's account can reach; removed afterwards."""
    made = Path(tempfile.mkdtemp(prefix="jit-start-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        remove_home(made / "data")
        shutil.rmtree(made)


def enlarged(accounts: int) -> str:
    """The shipped organisation with so many accounts: the sandboxes are more, all else is as it was."""
    document = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    numbered = document["units"]["sandbox"]["numbered"]
    numbered["count"] += accounts - accounts_in(SHIPPED)
    return str(yaml.safe_dump(document, sort_keys=False))


def accounts_in(organisation: Path) -> int:
    directory, _ = load_directory(organisation)
    return len(directory.accounts)


def first_start(made: Path, organisation: Path) -> dict[str, float]:
    """Start, wait until it is ready, stop; seconds as seen from outside and as it says itself."""
    ports = [text for name, port in zip(_PORTS, free_ports(3), strict=True) for text in (name, str(port))]
    command = [
        sys.executable, "-m", "local", "--data", str(made / "data"),
        "--organisation", str(organisation), *ports,
    ]  # fmt: skip
    log, began = made / "log", time.monotonic()
    process = spawn(command, log=log, cwd=ROOT, environment=os.environ, when_orphaned=signal.SIGTERM)
    try:
        wait_until(
            lambda: process.poll() is not None or ready_after(log) is not None, seconds=LONGEST_S, every=0.1
        )
        seconds = time.monotonic() - began
    finally:
        stop(process)
    own = ready_after(log)
    if own is None:
        raise RuntimeError(f"it did not become ready:\n{last_lines(log)}")
    return {"seconds": round(seconds, 1), "says_s": own}


def ready_after(log: Path) -> float | None:
    """The seconds it names itself once it is ready."""
    found = _READY.search(log.read_text(encoding="utf-8"))
    return float(found[1]) if found else None


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(name: str, accounts: int) -> dict[str, object]:
    with folder() as made:
        organisation = SHIPPED
        if name == "large":
            organisation = made / "organisation.yaml"
            organisation.write_text(enlarged(accounts), encoding="utf-8")
        count = accounts_in(organisation)
        taken = first_start(made, organisation)
    target = TARGETS_S[name]
    return {
        "bench": "first_start", "organisation": name, "accounts": count, **taken,
        "target_s": target, "holds": taken["seconds"] <= target,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--accounts", type=int, default=2000, help="how many the large one has")
    parser.add_argument("--only", choices=tuple(TARGETS_S), help="one of the two")
    options = parser.parse_args()
    for name in (options.only,) if options.only else tuple(TARGETS_S):
        print(json.dumps(measure(name, options.accounts)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
