"""Runs tests in forks of a process that has loaded what no mutant touches: seconds less for each mutant.

Reads a line of JSON with the arguments for pytest, answers one with the exit code and what pytest printed.
Started by bench/mutants.py in a copy of the tree. Nothing of services/ may be loaded before the fork.
"""

import importlib
import json
import os
import pkgutil
import sys
import tempfile
from collections.abc import Sequence
from types import ModuleType

import aioboto3
import aiobotocore.session
import asyncpg
import fastapi
import httpx2
import pytest

import local
import shared
import simulator

LOADED = (aioboto3, aiobotocore.session, asyncpg, fastapi, httpx2)
"""By name, so that nobody takes these imports for forgotten ones."""


def main() -> None:
    for package in (shared, simulator):
        _load(package)
    importlib.import_module(f"{local.__name__}.issuer")
    for line in sys.stdin:
        code, printed = _in_a_fork(json.loads(line))
        print(json.dumps({"code": code, "printed": printed}), flush=True)


def _load(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _in_a_fork(arguments: Sequence[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(pytest.main(list(arguments)))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


if __name__ == "__main__":
    main()
