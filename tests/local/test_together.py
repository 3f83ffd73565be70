"""Tests begun together: all that were selected, at once, and no other."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.pages import ROOT

_FILE = """
import asyncio
from pathlib import Path

import pytest

from tests.support.together import Together

together = Together()
BEGUN = Path(__file__).with_name("begun")


@pytest.fixture(scope="session")
async def running(request):
    begun = set()
    together.begin(begun, request.session.items)
    return begun


async def scenario(running, name):
    running.add(name)
    await asyncio.sleep(0.2)
    BEGUN.write_text(" ".join(sorted(running)))


@together
async def test_a(running):
    await scenario(running, "a")


@together
async def test_b(running):
    await scenario(running, "b")


@together
async def test_c(running):
    await scenario(running, "c")
    raise AssertionError("c fails by itself")
"""


def run(folder: Path, *arguments: str) -> tuple[str, str]:
    """What pytest printed, and which scenarios had begun when the last ended."""
    file = folder / "test_waiting.py"
    file.write_text(_FILE)
    command = [sys.executable, "-m", "pytest", str(file), "-q", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # loading them is most of a run
    command += ["-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout, (folder / "begun").read_text()


def test_all_tests_of_a_file_are_begun_together_and_fail_for_themselves(tmp_path: Path) -> None:
    shown, begun = run(tmp_path)
    assert "1 failed, 2 passed" in shown, shown
    assert begun == "a b c"


def test_only_what_was_selected_is_begun(tmp_path: Path) -> None:
    shown, begun = run(tmp_path, "-k", "test_a or test_b")
    assert "2 passed, 1 deselected" in shown
    assert begun == "a b"
