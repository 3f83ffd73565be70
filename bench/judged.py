"""How `make day` and `make chaos` begin and end: a folder of their own, one JSON object, an exit code."""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from local.postgres_home import remove_home
from shared.observability import logs

Judged = Callable[[argparse.Namespace, Path], Coroutine[Any, Any, dict[str, Any]]]
"""Runs it in a folder; its verdict has `violations`."""


def add_common(parser: argparse.ArgumentParser, *, seconds: float, tickets: int) -> None:
    parser.add_argument("--seconds", type=float, default=seconds, help="how long things go wrong")
    parser.add_argument("--tickets", type=int, default=tickets)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for logs and data; a temporary one by default")


def run_judged(given: argparse.Namespace, name: str, run: Judged) -> int:
    """1 where anything was violated."""
    logs.configure(fmt="console", level="ERROR")
    with tempfile.TemporaryDirectory(prefix=f"jit-{name}-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            verdict = asyncio.run(run(given, folder))
        finally:
            if given.keep is None:
                remove_home(folder / "pg")
    print(json.dumps(verdict, indent=2))
    return 1 if verdict["violations"] else 0
