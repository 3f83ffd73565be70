"""`python -m local` as a person starts it: what it shows, what it refuses, and how Ctrl-C ends it."""

import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from local import postgres as postgres_module
from local import progress as progress_module
from local.postgres import PostgresServer
from local.postgres_home import remove_home
from local.processes import free_ports, wait_until
from local.progress import Progress
from local.serving import PortRefused, require_ports, serving
from tests.support.pages import ROOT

OPTIONS = ("--port", "--simulator-port", "--smtp-port")
SCOPES, RULES = 10, 6
"""What the demo has of them, after local/seed.py."""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that other accounts can reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="jit-start-"))
    folder.chmod(0o711)
    yield folder
    remove_home(folder)
    shutil.rmtree(folder)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as somebody:
        yield somebody.getsockname()[1]


def command(data: Path, ports: dict[str, int]) -> list[str]:
    arguments = [text for option, port in ports.items() for text in (option, str(port))]
    return [sys.executable, "-m", "local", "--data", str(data), *arguments]


def test_start_on_a_taken_port_is_refused_with_one_sentence(taken: int, data: Path) -> None:
    option = OPTIONS[1]
    ports = dict(zip(OPTIONS, free_ports(3), strict=True)) | {option: taken}
    done = subprocess.run(command(data, ports), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert f"port {taken} is taken by another program" in sentence
    assert f'make run ARGS="{option} ' in sentence
    assert not any(data.iterdir()), "refused before anything was started"


def test_start_on_what_is_no_port_is_refused(data: Path) -> None:
    done = subprocess.run(
        command(data, {"--port": 99999}), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "99999 is no port" in done.stderr
    assert "Traceback" not in done.stderr


def test_ports_that_are_taken_are_named_together(taken: int) -> None:
    with pytest.raises(PortRefused, match=f"port {taken} is .* and port {taken} is .*--smtp-port"):
        require_ports({"--port": taken, "--simulator-port": free_ports(1)[0], "--smtp-port": taken})


async def test_a_port_that_is_taken_between_the_question_and_the_start_is_one_sentence_too(
    taken: int,
) -> None:
    async def nothing(_scope: object, _receive: object, _send: object) -> None: ...

    with pytest.raises(PortRefused, match=f"port {taken} is taken by another program"):
        async with serving(nothing, port=taken):
            pass


def test_the_database_takes_another_port_when_its_choice_is_taken(
    data: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = iter([taken, *free_ports(1)])
    monkeypatch.setattr(postgres_module, "free_ports", lambda _count: [next(choices)])
    server = PostgresServer(data, durable=False)
    server.start()
    try:
        assert f":{taken}/" not in server.admin_dsn
    finally:
        server.stop()


class Dots(io.StringIO):
    """Says when a dot was written."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def write(self, text: str) -> int:
        if text == ".":
            self.seen.set()
        return super().write(text)


def test_a_step_that_holds_everything_up_still_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_EVERY_S", 0.01)
    shown = Dots()
    with Progress(shown) as progress:
        progress.step("first")
        assert shown.seen.wait(10)
        progress.step("second")
        progress.done()
        shown.seen.clear()
        assert not shown.seen.wait(0.1), "no dots once everything is done"
    first, second = shown.getvalue().splitlines()
    assert first.startswith("  first .")
    assert first.endswith(" s")
    assert second.startswith("  second  0")


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_ctrl_c_during_the_first_start_is_heard_and_the_next_start_finishes_the_demo(data: Path) -> None:
    ports = dict(zip(OPTIONS, free_ports(3), strict=True))
    with running(data, ports, until="organisation, catalog") as (process, shown):
        assert (data / "seeded").exists() is False
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, shown.read_text()
        assert "Traceback" not in shown.read_text()
    with running(data, ports, until="Stop with Ctrl-C"):
        assert (data / "seeded").exists()
        assert [count(ports["--port"], kind) for kind in ("scopes", "rules")] == [SCOPES, RULES]


class running:  # noqa: N801 (reads as a sentence)
    """The run in a process of its own, from when its output says `until` to the end of the block."""

    def __init__(self, data: Path, ports: dict[str, int], *, until: str) -> None:
        self._shown = data / "shown"
        self._until = until
        with self._shown.open("wb") as output:
            self._process = subprocess.Popen(
                command(data, ports), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> tuple[subprocess.Popen[bytes], Path]:
        def said() -> bool:
            return self._until in self._shown.read_text() or self._process.poll() is not None

        came = wait_until(said, seconds=150) and self._process.poll() is None
        if not came:
            self.__exit__()
        assert came, self._shown.read_text()
        return self._process, self._shown

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


def count(port: int, kind: str) -> int:
    url = f"http://127.0.0.1:{port}"
    token = httpx2.post(f"{url}/issuer/token", data={"user": "root"}, timeout=30).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return len(httpx2.get(f"{url}/v1/{kind}", headers=headers, timeout=30).json()["items"])
