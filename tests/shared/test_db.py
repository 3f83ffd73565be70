"""Migrations and roles, for every service whose migrations exist."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from shared.database.migrate import (
    APP_CONNECTIONS,
    SERVICES,
    SHARED_DATABASES,
    app_role_of,
    migrate_database,
    owner_role_of,
)
from shared.database.pool import Pool, create_pool, transaction
from shared.database.schema import (
    Migration,
    MigrationError,
    apply_migrations,
    migrations_of,
    missing_migrations,
)
from tests.support.harness import service_database
from tests.support.servers import fresh_database

FIRST = Migration("x/0001", "CREATE TABLE thing (id int PRIMARY KEY); GRANT SELECT ON thing TO :app;")
SECOND = Migration("x/0002", "ALTER TABLE thing ADD COLUMN name text DEFAULT 'a'::text;")


@asynccontextmanager
async def empty_database(admin_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as administrator to a new database, beside an app role named `role_<database>`."""
    async with fresh_database(admin_dsn) as dsn:
        conn = await asyncpg.connect(dsn)
        role = await _role(conn)
        await conn.execute(f"CREATE ROLE {role}")
        try:
            yield conn
        finally:
            await conn.execute(f"DROP OWNED BY {role}")
            await conn.execute(f"DROP ROLE {role}")
            await conn.close()


async def _role(conn: asyncpg.Connection) -> str:
    return f"role_{await conn.fetchval('SELECT current_database()')}"


async def apply(conn: asyncpg.Connection, *migrations: Migration) -> list[str]:
    return await apply_migrations(conn, migrations, app_role=await _role(conn))


async def test_migrations_applied_twice_do_nothing_the_second_time(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        assert await apply(conn, FIRST, SECOND) == ["x/0001", "x/0002"]
        assert await apply(conn, FIRST, SECOND) == []


async def test_migrations_of_a_later_release_are_added(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        await apply(conn, FIRST)
        assert await apply(conn, FIRST, SECOND) == ["x/0002"]
        assert await conn.fetchval("SELECT count(name) FROM thing") == 0


async def test_an_edited_migration_is_refused_and_says_what_to_do(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        await apply(conn, FIRST)
        with pytest.raises(MigrationError, match=r"x/0001 was edited .* add a new migration"):
            await apply(conn, Migration("x/0001", FIRST.sql + " "), SECOND)
        assert await conn.fetchval("SELECT to_regclass('thing') IS NOT NULL")
        assert await conn.fetchval("SELECT count(*) FROM schema_migration") == 1


async def test_a_database_of_a_newer_release_is_refused(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        await apply(conn, FIRST, SECOND)
        with pytest.raises(MigrationError, match="x/0002, which this release does not know"):
            await apply(conn, FIRST)


async def test_a_migration_that_fails_leaves_nothing_of_itself(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        with pytest.raises(asyncpg.PostgresError):
            await apply(conn, FIRST, Migration("x/0002", "CREATE TABLE other (id int); SELECT 1/0;"))
        assert await conn.fetchval("SELECT to_regclass('other') IS NULL")
        assert await apply(conn, FIRST, SECOND) == ["x/0002"]


async def test_the_app_role_is_replaced_as_a_word_only(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        await apply(conn, Migration("x/0001", "CREATE DOMAIN app AS text; SELECT ':application', 'a'::app;"))


async def test_a_migration_waits_for_a_lock_only_so_long(admin_dsn: str) -> None:
    async with empty_database(admin_dsn) as conn:
        await apply(
            conn,
            Migration(
                "x/0001",
                "CREATE TABLE setting AS SELECT current_setting('lock_timeout') AS value;",
            ),
        )
        assert await conn.fetchval("SELECT value FROM setting") == "5s"


async def test_two_runners_at_once_apply_each_migration_once(admin_dsn: str) -> None:
    name = f"jit_ticket_{secrets.token_hex(6)}"
    applied = await asyncio.gather(
        *(migrate_database(admin_dsn, "ticket", database=name, password=f"p{n}") for n in range(4))
    )
    conn = await asyncpg.connect(admin_dsn)
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()
    wanted = [migration.name for migration in migrations_of("ticket")]
    assert sorted(name for names in applied for name in names) == sorted(wanted)


@pytest.fixture(scope="module", params=SERVICES)
async def migrated(admin_dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """Each service with the DSN of a database of its own."""
    async with service_database(admin_dsn, request.param) as dsn:
        yield request.param, dsn


async def test_a_service_finds_its_migrations_applied(migrated: tuple[str, str], admin_dsn: str) -> None:
    service, dsn = migrated
    conn = await asyncpg.connect(dsn)
    assert await missing_migrations(conn, service) == []
    await conn.close()
    nothing = await asyncpg.connect(admin_dsn)
    assert "shared/0001_messaging" in await missing_migrations(nothing, service)
    await nothing.close()


async def test_the_app_role_owns_nothing_and_cannot_change_the_schema(migrated: tuple[str, str]) -> None:
    service, dsn = migrated
    conn = await asyncpg.connect(dsn)
    owned = await conn.fetch(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user UNION ALL "
        "SELECT proname FROM pg_proc WHERE pg_get_userbyid(proowner) = current_user UNION ALL "
        "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = current_user"
    )
    assert owned == []
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "DROP TABLE outbox",
        "ALTER TABLE outbox ADD COLUMN x int",
        "TRUNCATE outbox",
        "DELETE FROM document",
        "DELETE FROM schema_migration",
        "INSERT INTO schema_migration (name, digest) VALUES ('x', 'y')",
        "INSERT INTO document_counter VALUES (true, 1, 1, '')",
        f"SET ROLE {owner_role_of(service)}",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)
    await conn.close()


async def test_the_app_role_reaches_no_database_that_is_open_to_all(migrated: tuple[str, str]) -> None:
    _, dsn = migrated
    for other in SHARED_DATABASES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(dsn, database=other)


async def test_the_app_role_has_a_limit_of_connections(admin_dsn: str, migrated: tuple[str, str]) -> None:
    service, _ = migrated
    conn = await asyncpg.connect(admin_dsn)
    limit = await conn.fetchval("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", app_role_of(service))
    await conn.close()
    assert limit == APP_CONNECTIONS


async def test_the_app_role_of_another_service_cannot_connect(migrated: tuple[str, str]) -> None:
    service, dsn = migrated
    other = next(name for name in SERVICES if name != service)
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError)):
        await asyncpg.connect(dsn.replace(f"{app_role_of(service)}:", f"{app_role_of(other)}:"))


async def note_and_fail(pool: Pool) -> None:
    async with transaction(pool) as conn:
        await conn.execute("INSERT INTO effect (key, number) VALUES ('b', 2)")
        raise ValueError("no")


async def test_a_transaction_commits_at_its_end_and_not_on_an_error(pool: Pool) -> None:
    async with transaction(pool) as conn:
        await conn.execute("INSERT INTO effect (key, number) VALUES ('a', 1)")
    with pytest.raises(ValueError, match="no"):
        await note_and_fail(pool)
    assert await pool.fetchval("SELECT array_agg(key) FROM effect") == ["a"]


async def test_the_pool_speaks_json_utc_and_gives_up_on_locks(dsn: str) -> None:
    pool = await create_pool(dsn, size=2)
    assert await pool.fetchval("SELECT $1::jsonb", {"a": [1, None]}) == {"a": [1, None]}
    assert await pool.fetchval("SHOW timezone") == "UTC"
    assert await pool.fetchval("SHOW lock_timeout") == "10s"
    await pool.close()


async def test_a_transaction_left_open_is_rolled_back_before_the_connection_is_lent_again(dsn: str) -> None:
    """Ours are never left open; what resets nothing else must still not hand one on."""
    pool = await create_pool(dsn, size=1)
    async with pool.acquire() as conn:
        await conn.execute("BEGIN")
        await conn.execute("INSERT INTO effect (key, number) VALUES ('left open', 1)")
    async with pool.acquire() as conn:
        assert not conn.is_in_transaction()
        assert await conn.fetchval("SELECT count(*) FROM effect WHERE key = 'left open'") == 0
    await pool.close()
