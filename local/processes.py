"""Starts server processes that die with the process that started them, on ports nobody else picks.

Knows nothing about the servers themselves: postgres.py here and the Kafka server of the tests use it.
"""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Below the ephemeral ranges of Linux (32768) and macOS (49152): a client that retries a connect to a
# closed *ephemeral* port can be given that very port as its own and then talks to itself.
_PORTS = range(20_000, 32_000)
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: a child between fork and exec must not start loading libraries.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's user that a server runs as, instead of ours."""

    name: str
    uid: int
    gid: int


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    account: Account | None = None,
    when_orphaned: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command` with its output appended to `log`.

    On Linux the kernel sends it `when_orphaned` when the *thread* that called this ends, so call it from a
    thread that lives as long as the server should. Elsewhere nothing does; servers look for orphans at start.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C belongs to us; we stop our servers in order
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=_dying_with(os.getpid(), when_orphaned),  # noqa: PLW1509 - it only makes system calls
        )


def _dying_with(parent: int, when_orphaned: signal.Signals) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def ask_kernel() -> None:
        # After the change of user, which would clear the request.
        prctl(_PR_SET_PDEATHSIG, int(when_orphaned), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the request was made
            os._exit(1)

    return ask_kernel


def succeeds_as(account: Account, *command: str) -> bool:
    """Whether a command ends well when that account runs it."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except OSError:  # not even found by that account
        return False
    return answer.returncode == 0


def command_line(pid: int) -> str:
    """What process `pid` was started with; empty when there is none."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return answer.stdout.decode(errors="replace")


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.02) -> bool:
    """Whether `condition` came true within `seconds`. Blocks."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def free_ports(count: int) -> list[int]:
    """Different free TCP ports on loopback. Held open together while choosing, so no two are the same."""
    held: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            if len(held) == count:
                break
            _hold(port, held)
        return [taken.getsockname()[1] for taken in held]
    finally:
        for taken in held:
            taken.close()


def _hold(port: int, held: list[socket.socket]) -> None:
    candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        candidate.bind(("127.0.0.1", port))
    except OSError:
        candidate.close()
    else:
        held.append(candidate)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a server's log, for the message that says why it did not start."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
