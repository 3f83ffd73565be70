"""A clock that steps: the provisioner's database is told to be wrong about the time.

The services take the time from their database by one function (decision 0019). For the provisioner's role, in
its own database, another function of that name stands before PostgreSQL's. No process's clock has to be set.
"""

import asyncio
from typing import Final

import asyncpg

from bench.fleet import Fleet
from shared.database.migrate import app_role_of, database_of

_ROLE: Final = app_role_of("provisioner")
_INSTALL: Final = f"""
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.step (seconds double precision NOT NULL);
    INSERT INTO chaos.step VALUES (0);
    CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM chaos.step))';
    GRANT USAGE ON SCHEMA chaos TO {_ROLE};
    GRANT SELECT ON chaos.step TO {_ROLE};
    ALTER ROLE {_ROLE} IN DATABASE {database_of("provisioner")}
        SET search_path = chaos, pg_catalog, public;
    """  # noqa: S608 (names of ours)


async def install_clock(running: Fleet) -> None:
    """Sessions that there are by now are ended, since they know PostgreSQL's own function."""
    conn = await asyncpg.connect(running.dsn("provisioner"))
    await conn.execute(_INSTALL)
    await conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", _ROLE)
    await conn.close()


async def set_clock(running: Fleet, seconds: float) -> None:
    """Tried until the database is there."""
    while True:
        try:
            conn = await asyncpg.connect(running.dsn("provisioner"))
            await conn.execute("UPDATE chaos.step SET seconds = $1", seconds)
            await conn.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.5)
        else:
            return
