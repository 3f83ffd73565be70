"""`jit migrate`: databases, roles, tables and topics, from nothing or from the previous release.

Each service has a database, an owner role that cannot log in (migrations run under it) and an app role
that owns nothing. Running it again changes nothing; running it while services run is safe.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import asyncpg
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.database.pool import Conn
from shared.database.schema import apply_migrations, migrations_of

Service = Literal["ticket", "approval", "provisioner", "notifier", "audit"]
SERVICES: Final[tuple[Service, ...]] = get_args(Service)


class MigrateSettings(BaseSettings):
    """What `jit migrate` needs; environment variables `JIT_MIGRATE_*`."""

    model_config = SettingsConfigDict(
        env_prefix="JIT_MIGRATE_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    admin_url: SecretStr
    """DSN of a role that may create databases and roles, on any database of the server."""
    app_passwords: dict[Service, SecretStr] = {}
    """Passwords of the app roles by service, as JSON; a service left out gets a role without one."""
    app_connections: int = Field(default=60, ge=10, le=10_000)
    """Connections a service may hold to its database, over all replicas. A replica holds `JIT_POOL_SIZE` and
    three more; so that none can take those that the others and the administrators need."""
    topic_replication: int = Field(default=1, ge=1, le=10)
    """Copies of each topic: 3 in production, 1 on a single broker."""


def database_of(service: str) -> str:
    return f"jit_{service}"


def app_role_of(service: str) -> str:
    return f"jit_{service}_app"


def owner_role_of(service: str) -> str:
    return f"jit_{service}_owner"


async def migrate_databases(admin_url: str, *, passwords: Mapping[str, str]) -> dict[str, list[str]]:
    """Bring every service's database to this release; returns the migrations applied by service."""
    applied = {}
    for service in SERVICES:
        applied[service] = await migrate_database(
            admin_url, service, database=database_of(service), password=passwords.get(service)
        )
    return applied


async def migrate_database(admin_url: str, service: str, *, database: str, password: str | None) -> list[str]:
    """Bring one database to this release, with its roles."""
    admin = await asyncpg.connect(admin_url)
    try:
        # Two runners at once: roles and databases belong to the whole server, and PostgreSQL fails
        # rather than waits when two sessions change the same one. Closing the connection unlocks.
        await admin.execute("SELECT pg_advisory_lock(7300)")
        await _ensure_roles(admin, service, password=password)
        await _ensure_database(admin, service, database=database)
    finally:
        await admin.close()
    conn = await asyncpg.connect(admin_url, database=database)
    try:
        await conn.execute(f"SET ROLE {owner_role_of(service)}")
        return await apply_migrations(conn, migrations_of(service), app_role=app_role_of(service))
    finally:
        await conn.close()


async def _ensure_roles(conn: Conn, service: str, *, password: str | None) -> None:
    """Both roles; the names are ours and plain, so they need no quoting."""
    for role, login in ((owner_role_of(service), "NOLOGIN"), (app_role_of(service), "LOGIN")):
        if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            try:
                await conn.execute(f"CREATE ROLE {role} {login}")
            except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                continue  # another migration run made it in this moment
    if password is not None:
        # Two runs at once would update the same row of pg_authid, which PostgreSQL refuses to one of them.
        await conn.execute("SELECT pg_advisory_lock(7303)")
        literal = await conn.fetchval("SELECT quote_literal($1)", password)
        await conn.execute(f"ALTER ROLE {app_role_of(service)} PASSWORD {literal}")
        await conn.execute("SELECT pg_advisory_unlock(7303)")
    if not await conn.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        await conn.execute(f"GRANT {owner_role_of(service)} TO CURRENT_USER")


async def _ensure_database(conn: Conn, service: str, *, database: str) -> None:
    if not await conn.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        await conn.execute(f"CREATE DATABASE {database} OWNER {owner_role_of(service)}")
    await conn.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await conn.execute(f"GRANT CONNECT ON DATABASE {database} TO {app_role_of(service)}")
