"""The database: reached, migrated, its clock, and the role with its rights and no others."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg

from cli.doctor.findings import Finding, fail, ok, warn
from shared.database.pool import Conn, create_pool
from shared.database.rights import Right, Role, find_role, given_rights, held_rights
from shared.database.schema import missing_migrations
from shared.foundation.clock import Clock
from shared.foundation.settings import ServiceSettings

BESIDES_THE_POOL: Final = 3
"""Connections of a replica that are not in its pool: relay, leases, listening."""
_DIFFERS_BY: Final = timedelta(seconds=5)
_MIGRATE: Final = "run this release's `jit migrate`"
_SHOWN: Final = 5
_WITHIN_S: Final = 15.0


async def check_database(service: str, settings: ServiceSettings) -> list[Finding]:
    try:
        async with connected(settings) as conn:
            return [one async for one in _checks(conn, service, settings)]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        # Not what it says: a DSN that cannot be read is in some of these texts.
        why = type(error).__name__
        return [fail("database.reached", why, "look at JIT_DATABASE_URL, the server and the network between")]


@asynccontextmanager
async def connected(settings: ServiceSettings) -> AsyncIterator[Conn]:
    """As a service connects. Raises what asyncpg raises."""
    async with asyncio.timeout(_WITHIN_S):
        pool = await create_pool(settings.database_url.get_secret_value(), size=1)
    try:
        async with pool.acquire() as conn:
            yield conn
    finally:
        await pool.close()


async def _checks(conn: Conn, service: str, settings: ServiceSettings) -> AsyncIterator[Finding]:
    yield ok("database.reached", "answers")
    if missing := await missing_migrations(conn, service):
        yield fail("database.schema", f"lacks {_some(missing)}", _MIGRATE)
        return
    yield ok("database.schema", "is this release's")
    role = await find_role(conn)
    for one in _role(role):
        yield one
    yield _connections(role, settings)
    yield _rights(service, await held_rights(conn))
    yield await _clock(conn)


def _role(role: Role) -> Iterator[Finding]:
    too_much = [
        *(f"is {power}" for power in role.powers),
        *(f"is in {one}" for one in role.member_of),
        *(f"owns {one}" for one in role.owns),
        *(["may make tables"] if role.may_create else []),
    ]
    if too_much:
        yield fail(
            "database.role", f"{role.name} {_some(too_much)}",
            "let the service connect as its app role, which `jit migrate` makes",
        )  # fmt: skip
    else:
        yield ok("database.role", f"{role.name} owns nothing and administers nothing")
    if role.other_databases:
        yield warn(
            "database.role", f"{role.name} may connect to {_some(role.other_databases)}",
            "REVOKE CONNECT on them FROM PUBLIC, as their owner",
        )  # fmt: skip


def _connections(role: Role, settings: ServiceSettings) -> Finding:
    needed = settings.pool_size + BESIDES_THE_POOL
    if role.most_connections < 0:
        return warn("database.connections", f"{role.name} may take all of the server's", _MIGRATE)
    if role.most_connections < needed:
        return fail(
            "database.connections", f"{role.most_connections} are allowed, and a replica needs {needed}",
            "raise JIT_MIGRATE_APP_CONNECTIONS and run `jit migrate`, or lower JIT_POOL_SIZE",
        )  # fmt: skip
    replicas = role.most_connections // needed
    return ok("database.connections", f"{role.most_connections} are allowed, enough for {replicas} replicas")


def _rights(service: str, held: frozenset[Right]) -> Finding:
    given = given_rights(service)
    if missing := given - held:
        return fail("database.rights", f"lacks {_listed(missing)}", f"{_MIGRATE}, or grant them again")
    if more := held - given:
        return fail("database.rights", f"also has {_listed(more)}", "revoke them: no release gives them")
    return ok("database.rights", f"has the {len(given)} that the migrations give, and no others")


async def _clock(conn: Conn) -> Finding:
    offset = await Clock().sync(conn)
    seconds = round(offset.total_seconds(), 1)
    if abs(offset) > _DIFFERS_BY:
        return warn(
            "clock.machine", f"the database is {seconds:+} s from this machine's clock",
            "keep both by NTP: the database's counts, and logs are dated by this one",
        )  # fmt: skip
    return ok("clock.machine", f"the database is {seconds:+} s from this machine's clock")


def _listed(rights: Iterable[Right]) -> str:
    return _some([f"{right.privilege} on {right.name}" for right in sorted(rights)])


def _some(words: Iterable[str]) -> str:
    known = list(words)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{', '.join(known[:_SHOWN])}{more}"
