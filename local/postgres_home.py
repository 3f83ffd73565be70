"""Where an embedded PostgreSQL keeps its files and as whom it runs.

PostgreSQL refuses to run as root; then an unprivileged account that already exists gets the files. What that
account cannot reach (a checkout in root's home) is put below SYSTEM_HOME. Used by postgres.py.
"""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

from local.errors import CannotStart
from local.processes import Account, succeeds_as

SYSTEM_HOME = Path("/var/lib/jit-access")
_ACCOUNTS = ("postgres", "nobody")
COMPOSE = "Run against real servers instead: see docker-compose.yml."


class PostgresUnavailable(CannotStart):
    """No embedded PostgreSQL on this machine; the sentence says why and what to do."""


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
        f"Run this as an ordinary user. {COMPOSE}"
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
        if account is None or succeeds_as(account, "test", "-x", str(data.absolute())):
            place.mkdir(mode=0o700)
        else:
            place.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=system_home()))
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


def system_home() -> Path:
    """Where root keeps what other accounts have to reach."""
    SYSTEM_HOME.mkdir(parents=True, exist_ok=True)
    SYSTEM_HOME.chmod(0o755)
    return SYSTEM_HOME
