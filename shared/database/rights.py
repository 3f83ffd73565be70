"""What a service's role may do in its database, as it is and as the migrations give it. For `jit doctor`.

Migrations are read as text: each GRANT to the app role is a statement of its own. tests/shared/test_rights.py
compares that with a database that was really migrated.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared.database.pool import Conn
from shared.database.schema import migrations_of

_COMMENT: Final = re.compile(r"--[^\n]*")
_STATEMENT: Final = re.compile(
    r"\bGRANT\s+(?P<privileges>[^;]+?)\s+ON\s+(?P<what>FUNCTION\s+)?(?P<names>[^;]+?)\s+TO\s+:app\s*;"
    r"|\bDROP\s+(?:TABLE|VIEW|FUNCTION)\s+(?:IF\s+EXISTS\s+)?(?P<dropped>[^;]+?)\s*;",
    re.IGNORECASE,
)
_PRIVILEGE: Final = re.compile(r"(\w+)(?:\s*\(([^)]*)\))?")


class Right(NamedTuple):
    """A privilege on a table, a column (`table.column`) or a function."""

    privilege: str
    name: str


@dataclass(frozen=True, slots=True)
class Role:
    """The role that a connection has, as the server knows it."""

    name: str
    powers: tuple[str, ...]
    """What of SUPERUSER, CREATEROLE, CREATEDB, REPLICATION, BYPASSRLS it has."""
    member_of: tuple[str, ...]
    owns: tuple[str, ...]
    may_create: bool
    """New tables in the schema."""
    other_databases: tuple[str, ...]
    """Those of the server that it may connect to besides this one."""
    most_connections: int
    """-1: any number."""


def given_rights(service: str) -> frozenset[Right]:
    """All that the migrations of this release give to the app role."""
    rights = {Right("SELECT", "schema_migration")}
    for migration in migrations_of(service):
        for found in _STATEMENT.finditer(_COMMENT.sub("", migration.sql)):
            if found["dropped"]:
                gone = {_plain(name) for name in found["dropped"].split(",")}
                rights = {right for right in rights if right.name.partition(".")[0] not in gone}
            else:
                rights |= set(_granted(found["privileges"], found["names"]))
    return frozenset(rights)


async def held_rights(conn: Conn) -> frozenset[Right]:
    """All that the connection's role was given, by name or with everybody.

    Functions of triggers are left out: nobody can call them.
    """
    rows = await conn.fetch(
        """
        WITH me AS (SELECT oid FROM pg_roles WHERE rolname = current_user)
        SELECT held.privilege_type AS privilege, relation.relname AS name
        FROM me, pg_class relation, aclexplode(relation.relacl) held
        WHERE relation.relnamespace = 'public'::regnamespace AND held.grantee IN (0, me.oid)
        UNION
        SELECT held.privilege_type, relation.relname || '.' || col.attname
        FROM me, pg_class relation JOIN pg_attribute col ON col.attrelid = relation.oid,
            aclexplode(col.attacl) held
        WHERE relation.relnamespace = 'public'::regnamespace AND held.grantee IN (0, me.oid)
        UNION
        SELECT held.privilege_type, called.proname
        FROM me, pg_proc called, aclexplode(coalesce(called.proacl, acldefault('f', called.proowner))) held
        WHERE called.pronamespace = 'public'::regnamespace AND called.prorettype <> 'trigger'::regtype
            AND held.grantee IN (0, me.oid)
        """
    )
    return frozenset(Right(row["privilege"], row["name"]) for row in rows)


async def find_role(conn: Conn) -> Role:
    """Who the connection is."""
    [row] = await conn.fetch(
        """
        SELECT r.rolname AS name, r.rolconnlimit AS most_connections,
            array_remove(ARRAY[
                CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
                CASE WHEN r.rolreplication THEN 'REPLICATION' END
            ], NULL) AS powers,
            ARRAY(
                SELECT above.rolname::text FROM pg_auth_members m JOIN pg_roles above ON above.oid = m.roleid
                WHERE m.member = r.oid ORDER BY 1
            ) AS member_of,
            ARRAY(
                SELECT relname::text FROM pg_class
                WHERE relowner = r.oid AND relkind IN ('r', 'p', 'v') ORDER BY 1
            ) AS owns,
            has_schema_privilege(r.oid, 'public', 'CREATE') AS may_create,
            ARRAY(
                SELECT datname::text FROM pg_database
                WHERE datallowconn AND datname <> current_database()
                    AND has_database_privilege(r.oid, oid, 'CONNECT')
                ORDER BY 1
            ) AS other_databases
        FROM pg_roles r WHERE r.rolname = current_user
        """
    )
    return Role(
        name=row["name"],
        powers=tuple(row["powers"]),
        member_of=tuple(row["member_of"]),
        owns=tuple(row["owns"]),
        may_create=row["may_create"],
        other_databases=tuple(row["other_databases"]),
        most_connections=row["most_connections"],
    )


def _granted(privileges: str, names: str) -> Iterator[Right]:
    for name in names.split(","):
        for privilege, columns in _PRIVILEGE.findall(privileges):
            if columns:
                yield from (
                    Right(privilege.upper(), f"{_plain(name)}.{_plain(one)}") for one in columns.split(",")
                )
            else:
                yield Right(privilege.upper(), _plain(name))


def _plain(name: str) -> str:
    """Without the types of a function's arguments, quotes and blanks."""
    return name.partition("(")[0].strip().strip('"')
