"""Installing as `make run` and `make test` do it, with a stand-in for pip: it moves, and it can fail."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.pages import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


def installing(folder: Path, pip: str) -> subprocess.Popen[str]:
    """`make install` into a virtual environment whose Python is the shell command `pip`."""
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{pip}\n")
    python.chmod(0o755)
    return subprocess.Popen(
        ["make", "--no-print-directory", "install", "LOCK=local", f"VENV={folder / 'venv'}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_something_moves_while_pip_is_silent(tmp_path: Path) -> None:
    shown, _ = installing(tmp_path, "sleep 3.5").communicate(timeout=60)
    assert shown.startswith("Installing requirements/local.txt into")
    assert shown.rstrip().endswith(". done")
    assert shown.count("..") >= 1, "a dot a second"
    assert (tmp_path / "venv" / "local.txt").read_bytes() == (ROOT / "requirements/local.txt").read_bytes()


def test_a_failed_installation_says_so_and_is_begun_again_the_next_time(tmp_path: Path) -> None:
    make = installing(tmp_path, "echo no network; exit 3")
    shown, _ = make.communicate(timeout=60)
    assert make.returncode == 2
    assert "no network" in shown
    assert "done" not in shown
    assert not (tmp_path / "venv" / "local.txt").exists()


def test_ctrl_c_ends_the_installation_and_its_dots(tmp_path: Path) -> None:
    make = installing(tmp_path, "sleep 30")
    assert make.stdout is not None
    shown = ""
    while not shown.endswith("two ."):
        more = make.stdout.read(1)
        assert more, f"ended early: {shown}"
        shown += more
    began = time.monotonic()
    os.killpg(make.pid, signal.SIGINT)
    make.communicate(timeout=20)  # returns when the last process that could write has ended
    assert time.monotonic() - began < 10
    assert make.returncode != 0
