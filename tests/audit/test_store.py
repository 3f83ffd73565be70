"""The log against its own service: what the app role can do, and what even the owner cannot by accident."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC

import asyncpg
import pytest

from services.audit import store
from services.audit.domain.mapping import Record, translate
from shared.contracts.ticket import TicketSubmitted
from shared.database.pool import transaction
from shared.foundation.clock import new_id
from shared.runtime.service import Service
from tests.support.audit_log import PRODUCT, as_owner, keep, records, sequences
from tests.support.facts import TICKET_ID, example
from tests.support.harness import NOW, service_database
from tests.support.organisation import user_id

CHANGES = (
    "UPDATE audit_event SET ocsf = '{}'",
    "UPDATE audit_event SET sequence = sequence + 1",
    "DELETE FROM audit_event",
    "TRUNCATE audit_event",
    "INSERT INTO log_head (last_sequence) VALUES (7)",
    "UPDATE log_head SET last_sequence = 0",
    "UPDATE log_head SET last_sequence = last_sequence + 2",
    "DELETE FROM log_head",
    "TRUNCATE log_head",
)
REBUILDS = (
    "INSERT INTO audit_event SELECT * FROM audit_event",
    "UPDATE log_head SET last_sequence = last_sequence + 1",
    "SELECT * FROM log_head FOR UPDATE",
    "DROP TABLE audit_event",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "ALTER TABLE audit_event DROP COLUMN ocsf",
    "DROP FUNCTION next_sequence(uuid, text)",
    "CREATE OR REPLACE FUNCTION next_sequence(event uuid, origin text) RETURNS bigint RETURN 1",
    "CREATE TABLE audit_event_2 (sequence bigint)",
    "SET ROLE jit_audit_owner",
    "SET session_replication_role = replica",
)


def record() -> Record:
    return translate(example(TicketSubmitted), event_id=new_id(), source="ticket", product=PRODUCT)


@pytest.fixture(scope="module")
async def written_log(admin_dsn: str) -> AsyncIterator[str]:
    """A log with one record, for statements that must not change it; the DSN of its app role."""
    made = record()
    async with service_database(admin_dsn, "audit") as dsn:
        conn = await asyncpg.connect(dsn)
        await store.append(conn, made, sequence=1, recorded_at=NOW, ocsf=made.to_bytes(1, NOW))
        await conn.close()
        yield dsn


@pytest.mark.parametrize("statement", CHANGES + REBUILDS)
async def test_change_log_as_app_role_is_refused(written_log: str, statement: str) -> None:
    conn = await asyncpg.connect(written_log)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute(statement)
    await conn.close()


@pytest.mark.parametrize("statement", CHANGES)
async def test_change_log_as_owner_is_refused_by_the_guards(
    admin_dsn: str, written_log: str, statement: str
) -> None:
    conn = await as_owner(admin_dsn, written_log)
    with pytest.raises(asyncpg.RestrictViolationError):
        await conn.execute(statement)
    assert await conn.fetchval("SELECT last_sequence FROM log_head") == 1
    assert await conn.fetchval("SELECT count(*) FROM audit_event") == 1
    await conn.close()


async def test_next_sequence_of_known_event_is_none(service: Service) -> None:
    event_id = new_id()
    await keep(service, example(TicketSubmitted), event_id=event_id)
    async with transaction(service.context.pool) as conn:
        assert await store.next_sequence(conn, event_id, "ticket") is None
        assert await store.next_sequence(conn, new_id(), "ticket") == 2
        assert await store.next_sequence(conn, event_id, "approval") == 2


@pytest.mark.parametrize("wrong", [0, 2, -1, 10**12])
async def test_append_under_another_number_is_refused(service: Service, wrong: int) -> None:
    made = record()
    with pytest.raises(asyncpg.RestrictViolationError, match="not the next one"):
        async with transaction(service.context.pool) as conn:
            await store.append(conn, made, sequence=wrong, recorded_at=NOW, ocsf=made.to_bytes(wrong, NOW))
    assert await sequences(service) == []


async def test_append_record_that_carries_another_sequence_is_refused(service: Service) -> None:
    made = record()
    with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
        async with transaction(service.context.pool) as conn:
            await store.append(conn, made, sequence=1, recorded_at=NOW, ocsf=made.to_bytes(2, NOW))


async def test_append_record_that_carries_another_id_is_refused(service: Service) -> None:
    made, other = record(), record()
    with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
        async with transaction(service.context.pool) as conn:
            await store.append(conn, made, sequence=1, recorded_at=NOW, ocsf=other.to_bytes(1, NOW))


async def test_append_record_that_carries_another_source_is_refused(service: Service) -> None:
    made = replace(record(), source="approval")
    with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
        async with transaction(service.context.pool) as conn:
            await store.append(conn, made, sequence=1, recorded_at=NOW, ocsf=made.to_bytes(1, NOW))


async def test_append_rolled_back_leaves_no_gap(service: Service) -> None:
    made = record()
    with pytest.raises(ZeroDivisionError):
        await _append_and_fail(service, made)
    await keep(service, example(TicketSubmitted))
    assert await sequences(service) == [1]


async def test_append_keeps_the_bytes_and_what_they_are_found_by(service: Service) -> None:
    await keep(service, example(TicketSubmitted))
    row = await service.context.pool.fetchrow("SELECT * FROM audit_event")
    assert row is not None
    assert json.loads(row["ocsf"])["metadata"]["sequence"] == row["sequence"] == 1
    assert str(row["event_id"]) == (await records(service))[0]["metadata"]["uid"]
    assert (row["event_code"], row["ticket_id"]) == ("ticket.submitted", TICKET_ID)
    assert (row["actor_id"], row["party_ids"]) == (user_id("ann"), [user_id("ann")])
    assert row["recorded_at"].astimezone(UTC) == NOW


async def test_is_party_knows_requester_and_beneficiary_only(service: Service) -> None:
    await keep(service, example(TicketSubmitted))
    async with service.context.pool.acquire() as conn:
        assert await store.is_party(conn, TICKET_ID, user_id("ann"))
        assert not await store.is_party(conn, TICKET_ID, user_id("bob"))
        assert not await store.is_party(conn, "another", user_id("ann"))


async def _append_and_fail(service: Service, made: Record) -> None:
    async with transaction(service.context.pool) as conn:
        await store.append(conn, made, sequence=1, recorded_at=NOW, ocsf=made.to_bytes(1, NOW))
        raise ZeroDivisionError
