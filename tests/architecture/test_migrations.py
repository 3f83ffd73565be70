"""Migrations rebuild the schema, grant what is needed to the app role, and give it nothing to own."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from shared.database.migrate import SERVICES, app_role_of
from shared.database.schema import migrations_of
from tests.support.harness import service_database
from tests.support.servers import fresh_database

ROOT = Path(__file__).parents[2]

_SHAPE = """
    SELECT c.relname AS thing, a.attname AS part, format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS rest
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'p')
      AND c.relname <> 'schema_migration'
    UNION ALL SELECT indexname, '', '', indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'schema_migration'
    UNION ALL SELECT conrelid::regclass::text, conname, '', pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'schema_migration'
    UNION ALL SELECT p.proname, '', '', pg_get_functiondef(p.oid) FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
    ORDER BY 1, 2, 3, 4
"""


@pytest.fixture(scope="module", params=SERVICES)
async def migrated(
    admin_dsn: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Each service with an administrator's connection to its migrated database."""
    async with service_database(admin_dsn, request.param) as dsn:
        conn = await asyncpg.connect(admin_dsn, database=dsn.rsplit("/", 1)[1])
        yield request.param, conn
        await conn.close()


async def test_the_files_one_after_the_other_give_the_same_schema(
    admin_dsn: str, migrated: tuple[str, asyncpg.Connection]
) -> None:
    service, conn = migrated
    text = "\n".join(migration.sql for migration in migrations_of(service))
    async with fresh_database(admin_dsn) as dsn:
        fresh = await asyncpg.connect(dsn)
        await fresh.execute(re.sub(r"(?<!:):app\b", app_role_of(service), text))
        assert await fresh.fetch(_SHAPE) == await conn.fetch(_SHAPE)
        await fresh.close()


async def test_the_app_role_may_use_every_table_and_own_none(
    migrated: tuple[str, asyncpg.Connection],
) -> None:
    service, conn = migrated
    role = app_role_of(service)
    rows = await conn.fetch(
        "SELECT relname, pg_get_userbyid(relowner) AS owner, "
        "has_table_privilege($1, oid, 'SELECT') OR has_any_column_privilege($1, oid, 'SELECT') AS used "
        "FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p')",
        role,
    )
    assert rows
    for row in rows:
        assert row["owner"] != role, (
            f"{service}: {row['relname']} belongs to {role}; migrations run as the owner"
        )
        assert row["used"] or service == "audit", (
            f"{service}: nothing is granted on {row['relname']}; its migration needs GRANT ... TO :app"
        )


async def test_the_app_role_may_nothing_it_could_hide_traces_with(
    migrated: tuple[str, asyncpg.Connection],
) -> None:
    service, conn = migrated
    rows = await conn.fetch(
        "SELECT relname, p.name FROM pg_class, "
        "unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (name) "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
        "AND has_table_privilege($1, oid, p.name)",
        app_role_of(service),
    )
    assert rows == [], f"{service}: take these rights away from :app again"


async def test_every_moment_in_time_has_its_zone(migrated: tuple[str, asyncpg.Connection]) -> None:
    service, conn = migrated
    rows = await conn.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'"
    )
    assert rows == [], f"{service}: use timestamptz"


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_have_each_a_number_of_their_own(service: str) -> None:
    names = [migration.name for migration in migrations_of(service)]
    for label in ("shared", service):
        numbers = [name.split("/")[1][:5] for name in names if name.startswith(f"{label}/")]
        assert all(re.fullmatch(r"\d{4}_", number) for number in numbers), f"{names}: begin with 0001_"
        assert len(set(numbers)) == len(numbers), f"{names}: two have the same number"
