"""PostgreSQL as a child process: initialised, started, stopped and recovered, on its own port of 127.0.0.1.

Knows no schema: `jit migrate` makes databases and roles through the administrator's DSN given out here.
postgres_home.py decides where its files are and as whom it runs, postgres_wheel.py which programs.
"""

import asyncio
import fcntl
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from local.postgres_home import PostgresUnavailable, make_home
from local.postgres_wheel import usable_binaries, wheel_binaries
from local.processes import command_line, free_ports, last_lines, spawn, wait_until

StopMode = Literal["smart", "fast", "immediate"]

ADMIN = "jit_admin"
_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
_ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path would be too long, and passwords guard TCP
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# Commits still wait for the write to the operating system (synchronous_commit stays on), so that a commit
# survives kill -9 of the server; they do not wait for the disk.
_FORGETFUL = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
}
# A killed postmaster's children hold the shared memory for some milliseconds more; a port can be taken
# between its choice and its use. Both pass.
_PASSING = ("is still in use", "Address already in use", "could not bind")
_PATIENCE = 30.0  # seconds


class PostgresServer:
    """One server on one data folder. Not for several threads; every method blocks for up to seconds.

    `durable` keeps every commit through a power cut; without it a killed *machine* may lose the database, a
    killed server does not. After `kill` or `stop`, `start` serves the same data on the same port.
    """

    def __init__(
        self, data: Path, *, durable: bool, port: int | None = None, binaries: Path | None = None
    ) -> None:
        self._home, self._account = make_home(data)
        self._binaries = usable_binaries(binaries or wheel_binaries(), self._account)
        self._cluster = self._home / "cluster"
        self._log = self._home / "log"
        self._settings = _ALWAYS | ({} if durable else _FORGETFUL)
        self._durable = durable
        self._port = port
        self._lock: BinaryIO | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin_dsn(self) -> str:
        """A superuser's address; contains the password."""
        if self._port is None:
            raise RuntimeError("Start the server before asking for its address.")
        return f"postgresql://{ADMIN}:{self._password()}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise RuntimeError("The server is not running.")
        return self._process.pid

    def start(self) -> None:
        """Serve. Makes the database first if there is none; ends an orphan of a killed run first."""
        if self._process is not None:
            return
        self._take_lock()
        self._end_orphan()
        if not self._cluster.exists():
            self._initialise()
        self._log.write_bytes(b"")
        if not wait_until(self._try_to_serve, seconds=_PATIENCE, every=0.1):
            raise PostgresUnavailable(f"PostgreSQL does not start:\n{last_lines(self._log)}")

    def stop(self, mode: StopMode = "fast") -> None:
        """End the server: `fast` finishes cleanly, `immediate` leaves recovery to the next start."""
        if self._process is not None:
            self._process.send_signal(_SIGNALS[mode])
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._drop_lock()

    def kill(self) -> None:
        """Kill -9 of the postmaster, as a crash would; its children notice and end by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._drop_lock()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and serve again under the same address."""
        self.stop(mode)
        self.start()

    def _take_lock(self) -> None:
        # The lock tells an orphan (nobody holds it) from the server of another run on the same folder.
        lock = (self._home / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise PostgresUnavailable(
                f"Another run uses the data folder {self._home}. Stop it, or choose another data folder."
            ) from error
        self._lock = lock

    def _drop_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_orphan(self) -> None:
        """Clear what a killed run left: its server where it still runs, else a stale process id."""
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split("\n", 1)[0] or 0)

        def runs() -> bool:
            return str(self._cluster) in command_line(pid)

        if runs():
            os.kill(pid, signal.SIGINT)
            if not wait_until(lambda: not runs(), seconds=_PATIENCE):
                raise PostgresUnavailable(f"PostgreSQL of an earlier run (process {pid}) does not stop.")
        # PostgreSQL would wait for ever for a process that was given the same number since. Two servers on
        # one folder stay impossible: the shared memory block is checked as well.
        pid_file.unlink(missing_ok=True)

    def _initialise(self) -> None:
        # Renamed when complete: a run killed in the middle leaves nothing that looks like a database.
        staging = self._home / "cluster.new"
        if staging.exists():
            self._run("rm", "-rf", str(staging))
        self._keep(self._home / "password", secrets.token_urlsafe(24))
        command = [str(self._binaries / "initdb"), "-D", str(staging), "-U", ADMIN, "--auth=scram-sha-256"]
        command += [f"--pwfile={self._home / 'password'}", "--encoding=UTF8", "--no-locale"]
        self._run(*command, *([] if self._durable else ["--no-sync"]))
        staging.rename(self._cluster)

    def _run(self, *command: str) -> None:
        answer = subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd=self._home,
            env=_environment(),
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if answer.returncode != 0:
            raise PostgresUnavailable(f"{command[0]} failed: {answer.stderr.decode(errors='replace')}")

    def _try_to_serve(self) -> bool:
        """One launch: True when it serves, False when it failed for a reason that passes."""
        port = self._port or free_ports(1)[0]
        command = [str(self._binaries / "postgres"), "-D", str(self._cluster), "-p", str(port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = process = spawn(
            command,
            log=self._log,
            cwd=self._home,
            environment=_environment(),
            account=self._account,
            when_orphaned=signal.SIGINT,
        )
        wait_until(lambda: self._ready(process) or process.poll() is not None, seconds=_PATIENCE)
        if process.poll() is None and self._ready(process):
            self._port = port
            return True
        self.kill()
        self._take_lock()
        printed = last_lines(self._log)
        if any(reason in printed for reason in _PASSING):
            return False
        raise PostgresUnavailable(f"PostgreSQL does not start:\n{printed}")

    def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether the postmaster wrote down that it accepts connections (as pg_ctl decides it)."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def _password(self) -> str:
        return (self._home / "password").read_text()

    def _keep(self, path: Path, secret: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)


@asynccontextmanager
async def postgres(data: Path, *, durable: bool, port: int | None = None) -> AsyncIterator[PostgresServer]:
    """Serve the data folder for as long as the block runs.

    Starting blocks the loop for its half second: it must happen in a thread that lives as long as the server.
    """
    server = PostgresServer(data, durable=durable, port=port)
    server.start()
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def _environment() -> dict[str, str]:
    # Nothing of ours: PGDATA, PGPORT or a locale would change what is started.
    return {"PATH": os.defpath, "LC_ALL": "C"}
