"""What migrations give a role, read as text, is what a migrated database says."""

import asyncpg
import pytest

from shared.database.migrate import SERVICES
from shared.database.rights import Right, find_role, given_rights, held_rights
from tests.support.harness import service_database


@pytest.mark.parametrize("service", SERVICES)
async def test_rights_in_the_migrations_are_those_of_the_database(own_admin_dsn: str, service: str) -> None:
    async with service_database(own_admin_dsn, service) as dsn:
        conn = await asyncpg.connect(dsn)
        try:
            held = await held_rights(conn)
            role = await find_role(conn)
        finally:
            await conn.close()
    assert held == given_rights(service)
    assert Right("SELECT", "schema_migration") in held
    assert (role.name, role.powers, role.member_of, role.owns) == (f"jit_{service}_app", (), (), ())
    assert (role.may_create, role.other_databases, role.most_connections) == (False, (), 60)


def test_rights_on_columns_functions_and_what_was_dropped_are_read() -> None:
    provisioner = given_rights("provisioner")
    assert {Right("UPDATE", "claim.ends_at"), Right("EXECUTE", "fenced_assignments")} <= provisioner
    assert Right("UPDATE", "claim") not in provisioner
    assert not [right for right in provisioner if right.name.startswith("subject_binding")]
