"""`jit migrate`: databases, roles, tables and topics, from nothing or from the previous release.

Each service has a database, an owner role that cannot log in (migrations run under it) and an app role
that owns nothing. Running it again changes nothing; running it while services run is safe.
"""

from collections.abc import Mapping
from typing import Final, Literal

import asyncpg
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.database.pool import Conn
from shared.database.schema import apply_migrations, migrations_of

SERVICES: Final = ("ticket", "approval", "provisioner", "notifier", "audit")


APP_CONNECTIONS: Final = 60
SHARED_DATABASES: Final = ("postgres", "template1")
"""What PostgreSQL lets every role connect to unless told otherwise."""


class MigrateSettings(BaseSettings):
    """What `jit migrate` needs; environment variables `JIT_MIGRATE_*`."""

    model_config = SettingsConfigDict(
        env_prefix="JIT_MIGRATE_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    admin_url: SecretStr
    """DSN of a role that may create databases and roles, on any database of the server."""
    app_passwords: dict[Literal["ticket", "approval", "provisioner", "notifier", "audit"], SecretStr] = {}
    """Passwords of the app roles by service, as JSON; a service left out gets a role without one."""
    app_connections: int = Field(default=APP_CONNECTIONS, ge=10, le=10_000)
    """Connections a service may hold to its database, over all replicas. A replica holds `JIT_POOL_SIZE` and
    three more; so that none can take those that the others and the administrators need."""
    kafka_principals: dict[Literal["ticket", "approval", "provisioner", "notifier", "audit"], str] = {}
    """The broker's names of the services, as JSON, for `jit migrate --acls`; a service left out is
    `User:jit-<service>`."""
    topic_replication: int = Field(default=1, ge=1, le=10)
    """Copies of each topic: 3 in production, 1 on a single broker."""


def database_of(service: str) -> str:
    return f"jit_{service}"


def app_role_of(service: str) -> str:
    return f"jit_{service}_app"


def owner_role_of(service: str) -> str:
    return f"jit_{service}_owner"


async def migrate_databases(
    admin_url: str, *, passwords: Mapping[str, str], connections: int = APP_CONNECTIONS
) -> dict[str, list[str]]:
    """Bring every service's database to this release; returns the migrations applied by service."""
    applied = {}
    for service in SERVICES:
        applied[service] = await migrate_database(
            admin_url,
            service,
            database=database_of(service),
            password=passwords.get(service),
            connections=connections,
        )
    return applied


async def migrate_database(
    admin_url: str,
    service: str,
    *,
    database: str,
    password: str | None,
    connections: int = APP_CONNECTIONS,
) -> list[str]:
    """Bring one database to this release, with its roles."""
    admin = await asyncpg.connect(admin_url)
    try:
        # Two runners at once: roles and databases belong to the whole server, and PostgreSQL fails
        # rather than waits when two sessions change the same one. Closing the connection unlocks.
        await admin.execute("SELECT pg_advisory_lock(7300)")
        await _ensure_roles(admin, service, password=password, connections=connections)
        await _ensure_database(admin, service, database=database)
        await _close_others(admin)
    finally:
        await admin.close()
    conn = await asyncpg.connect(admin_url, database=database)
    try:
        await conn.execute(f"SET ROLE {owner_role_of(service)}")
        return await apply_migrations(conn, migrations_of(service), app_role=app_role_of(service))
    finally:
        await conn.close()


async def _ensure_roles(conn: Conn, service: str, *, password: str | None, connections: int) -> None:
    """Both roles; the names are ours and plain, so they need no quoting."""
    for role, login in ((owner_role_of(service), "NOLOGIN"), (app_role_of(service), "LOGIN")):
        if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            try:
                await conn.execute(f"CREATE ROLE {role} {login}")
            except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                continue  # another migration run made it in this moment
    # Two runs at once would update the same row of pg_authid, which PostgreSQL refuses to one of them.
    await conn.execute("SELECT pg_advisory_lock(7303)")
    await conn.execute(f"ALTER ROLE {app_role_of(service)} CONNECTION LIMIT {connections:d}")
    if password is not None:
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


async def _close_others(conn: Conn) -> None:
    """No role of ours needs another database of the server, so none may connect to the ones open to all.

    Where the administrator does not own these, as on managed servers, their owner has to do it: PostgreSQL
    answers such a REVOKE with a warning and changes nothing.
    """
    for database in SHARED_DATABASES:
        await conn.execute(f"GRANT CONNECT ON DATABASE {database} TO CURRENT_USER")
        await conn.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
