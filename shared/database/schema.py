"""The schema of a service's database: its migrations, in order, and whether they are applied.

Migrations run as the owner role before a service starts (`jit migrate`, shared/database/migrate.py).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.database.pool import Conn

_ROOT = Path(__file__).resolve().parents[2]
_APP = re.compile(r"(?<!:):app\b")
"""The app role's placeholder in a migration."""


@dataclass(frozen=True)
class Migration:
    """A numbered SQL file. Its text never changes once shipped; the runner compares digests."""

    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationError(Exception):
    """The database and the code do not fit; says what to do."""


def migrations_of(service: str) -> list[Migration]:
    """Shared migrations first, then the service's own, each in the order of their numbers."""
    found: list[Migration] = []
    for label, folder in (
        ("shared", _ROOT / "shared" / "database" / "migrations"),
        (service, _ROOT / "services" / service / "migrations"),
    ):
        found += [
            Migration(f"{label}/{file.stem}", file.read_text(encoding="utf-8"))
            for file in sorted(folder.glob("*.sql"))
        ]
    return found


async def apply_migrations(conn: Conn, migrations: Iterable[Migration], *, app_role: str) -> list[str]:
    """Apply what is missing, one transaction each; return the names applied.

    Refuses a database that is newer than the code, and a shipped file that was edited. Two runners
    at once are safe: the second waits for the first.
    """
    wanted = list(migrations)
    await conn.execute("SELECT pg_advisory_lock(7301)")
    try:
        # Under the lock as well: IF NOT EXISTS and GRANT both fail when two runners meet in them.
        await conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration ("
            "name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await conn.execute(f"GRANT SELECT ON schema_migration TO {_identifier(app_role)}")
        applied = {
            row["name"]: row["digest"]
            for row in await conn.fetch("SELECT name, digest FROM schema_migration")
        }
        _refuse_mismatch(wanted, applied)
        missing = [migration for migration in wanted if migration.name not in applied]
        for migration in missing:
            await _apply(conn, migration, app_role=app_role)
        return [migration.name for migration in missing]
    finally:
        await conn.execute("SELECT pg_advisory_unlock(7301)")


def _refuse_mismatch(wanted: list[Migration], applied: dict[str, Any]) -> None:
    known = {migration.name: migration.digest for migration in wanted}
    if newer := sorted(set(applied) - set(known)):
        raise MigrationError(
            f"the database has {', '.join(newer)}, which this release does not know: use the newer release"
        )
    if edited := sorted(
        name for name, digest in known.items() if name in applied and applied[name] != digest
    ):
        raise MigrationError(
            f"{', '.join(edited)} was edited after it was applied: add a new migration instead"
        )


async def _apply(conn: Conn, migration: Migration, *, app_role: str) -> None:
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '5s'")
        await conn.execute(_APP.sub(_identifier(app_role), migration.sql))
        await conn.execute(
            "INSERT INTO schema_migration (name, digest) VALUES ($1, $2)", migration.name, migration.digest
        )


async def missing_migrations(conn: Conn, service: str) -> list[str]:
    """Names the code knows and the database has not; a service starts only when this is empty."""
    exists = await conn.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL")
    if not exists:
        return [migration.name for migration in migrations_of(service)]
    applied = {row["name"] for row in await conn.fetch("SELECT name FROM schema_migration")}
    return [migration.name for migration in migrations_of(service) if migration.name not in applied]


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
