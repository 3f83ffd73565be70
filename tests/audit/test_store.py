"""The log against its own service: what the app role can do, and what even the owner cannot by accident."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC

import asyncpg
import pytest

from services.audit import store
from services.audit.domain.mapping import Record, translate
from services.audit.store import Numbered, Place
from shared.contracts.ticket import TicketSubmitted
from shared.database.pool import Conn, Pool, create_pool, transaction
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
    "UPDATE log_account SET sequence = sequence + 1",
    "DELETE FROM log_account",
    "UPDATE log_person SET event_code = ''",
    "TRUNCATE log_person",
    "UPDATE log_hour SET last_sequence = 0",
    "UPDATE log_hour SET first_sequence = first_sequence + 1, last_sequence = last_sequence + 1",
    "DELETE FROM log_hour",
)
REBUILDS = (
    "INSERT INTO audit_event SELECT * FROM audit_event",
    "UPDATE log_head SET last_sequence = last_sequence + 1",
    "SELECT * FROM log_head FOR UPDATE",
    "INSERT INTO log_account SELECT * FROM log_account",
    "INSERT INTO log_person SELECT * FROM log_person",
    "INSERT INTO log_hour VALUES (now(), 1, 1)",
    "DROP TABLE audit_event",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "ALTER TABLE audit_event DROP COLUMN ocsf",
    "DROP FUNCTION next_sequences(uuid[], text[])",
    "CREATE OR REPLACE FUNCTION head_grows() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
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
        pool = await create_pool(dsn, size=1)
        async with pool.acquire() as conn:
            await append(conn, made, sequence=1)
        await pool.close()
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


async def test_next_places_are_one_for_each_fact_the_log_does_not_have(service: Service) -> None:
    known, new = record(), record()
    await keep(service, example(TicketSubmitted), event_id=known.event_id)
    elsewhere = replace(known, source="approval")
    async with transaction(service.context.pool) as conn:
        places = await store.next_places(conn, [new, known, elsewhere, new, record()])
    assert [place and place.sequence for place in places] == [2, None, 3, None, 4]
    published = [place.published_id for place in places if place]
    assert published[0] == new.event_id
    assert published[1] not in {known.event_id, new.event_id}


async def test_next_places_of_one_id_from_two_sources_gives_it_to_the_first(service: Service) -> None:
    first = record()
    async with transaction(service.context.pool) as conn:
        places = await store.next_places(conn, [first, replace(first, source="approval")])
    assert [place and place.sequence for place in places] == [1, 2]
    assert [place and place.published_id == first.event_id for place in places] == [True, False]


async def test_next_places_read_no_more_of_a_log_that_has_grown_since_they_were_planned(
    admin_dsn: str,
) -> None:
    async with service_database(admin_dsn, "audit") as dsn:
        pool = await create_pool(dsn, size=1)
        await _grow_log(pool)
        await pool.close()


async def _grow_log(pool: Pool) -> None:
    async with pool.acquire() as conn:
        for count in (3, 300, 300):
            async with conn.transaction():
                before = await rows_read(conn)
                some = [record() for _ in range(count)]
                places = await store.next_places(conn, some)
                assert await rows_read(conn) - before <= count
                numbered = [Numbered(one, place) for one, place in zip(some, places, strict=True) if place]
                await store.append(conn, numbered, recorded_at=NOW, ocsf=[_bytes(one) for one in numbered])


async def rows_read(conn: Conn) -> int:
    """Of the log, in the transaction that is open."""
    found: int = await conn.fetchval(
        """
        SELECT sum(coalesce(t.seq_tup_read, 0) + coalesce(i.idx_tup_read, 0))
        FROM pg_stat_xact_user_tables t,
            LATERAL (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) AS idx_tup_read
                FROM pg_index WHERE indrelid = t.relid) i
        WHERE t.relname = 'audit_event'
        """
    )
    return found


@pytest.mark.parametrize("wrong", [[0], [2], [-1], [10**12], [1, 3], [2, 1], [1, 1], []])
async def test_append_under_other_numbers_is_refused(service: Service, wrong: list[int]) -> None:
    numbered = [Numbered(record(), Place(number, "")) for number in wrong]
    with pytest.raises(asyncpg.RestrictViolationError, match="not the ones after"):
        async with transaction(service.context.pool) as conn:
            await store.append(conn, numbered, recorded_at=NOW, ocsf=[_bytes(one) for one in numbered])
    assert await sequences(service) == []


async def test_append_fact_that_is_known_is_refused(service: Service) -> None:
    known = record()
    await keep(service, example(TicketSubmitted), event_id=known.event_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction(service.context.pool) as conn:
            await append(conn, known, sequence=2)
    assert await sequences(service) == [1]


async def test_append_record_that_carries_another_sequence_is_refused(service: Service) -> None:
    made = record()
    with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
        async with transaction(service.context.pool) as conn:
            await append(conn, made, sequence=1, ocsf=made.to_bytes(2, NOW))


async def test_append_record_that_carries_another_id_is_refused_wherever_it_stands(service: Service) -> None:
    numbered = [Numbered(record(), Place(number, "")) for number in (1, 2, 3)]
    for wrong in range(3):
        ocsf = [_bytes(one) for one in numbered]
        ocsf[wrong] = record().to_bytes(wrong + 1, NOW)
        with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
            async with transaction(service.context.pool) as conn:
                await store.append(conn, numbered, recorded_at=NOW, ocsf=ocsf)
    assert await sequences(service) == []


async def test_append_record_that_carries_another_source_is_refused(service: Service) -> None:
    made = replace(record(), source="approval")
    with pytest.raises(asyncpg.RestrictViolationError, match="does not carry"):
        async with transaction(service.context.pool) as conn:
            await append(conn, made, sequence=1)


async def test_save_of_many_facts_at_once_keeps_each_once_in_order_and_publishes_them(
    service: Service,
) -> None:
    known = record()
    await keep(service, example(TicketSubmitted), event_id=known.event_id)
    given = [record(), known, record(), record()]
    given.append(given[0])
    async with service.context.unit_of_work() as work:
        saved = await store.save(work, given, at=NOW)
    assert [one.record for one in saved] == [given[0], given[2], given[3]]
    stored = await records(service)
    assert [one["metadata"]["sequence"] for one in stored] == [1, 2, 3, 4]
    rows = await service.context.pool.fetch("SELECT payload FROM outbox ORDER BY id")
    assert [json.loads(row["payload"]) for row in rows] == stored


async def append(conn: asyncpg.Connection, made: Record, *, sequence: int, ocsf: bytes | None = None) -> None:
    """One record under that number; its own bytes if none are given."""
    numbered = Numbered(made, Place(sequence, made.event_id))
    await store.append(conn, [numbered], recorded_at=NOW, ocsf=[ocsf or _bytes(numbered)])


def _bytes(numbered: Numbered) -> bytes:
    return numbered.record.to_bytes(numbered.place.sequence, NOW)


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


async def test_append_writes_what_a_record_is_searched_by_once_for_each(service: Service) -> None:
    made = replace(record(), account_ids=("a", "b", "a"), person_ids=("user-ann", "user-bob", "user-ann"))
    async with service.context.unit_of_work() as work:
        second = replace(record(), account_ids=("b", "a"), person_ids=())
        await store.save(work, [made, second], at=NOW)
    pool = service.context.pool
    rows = await pool.fetch(
        "SELECT account_id, sequence, event_code, actor_id FROM log_account ORDER BY 2, 1"
    )
    assert [tuple(row) for row in rows] == [
        (account, sequence, "ticket.submitted", user_id("ann")) for sequence in (1, 2) for account in "ab"
    ]
    rows = await pool.fetch("SELECT user_id, sequence, event_code, actor_id FROM log_person ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        (person, 1, "ticket.submitted", user_id("ann")) for person in ("user-ann", "user-bob")
    ]
    hour = made.occurred_at.replace(minute=0, second=0, microsecond=0)
    assert [tuple(row) for row in await pool.fetch("SELECT * FROM log_hour")] == [(hour, 1, 2)]


async def test_is_party_knows_requester_and_beneficiary_only(service: Service) -> None:
    await keep(service, example(TicketSubmitted))
    async with service.context.pool.acquire() as conn:
        assert await store.is_party(conn, TICKET_ID, user_id("ann"))
        assert not await store.is_party(conn, TICKET_ID, user_id("bob"))
        assert not await store.is_party(conn, "another", user_id("ann"))


async def _append_and_fail(service: Service, made: Record) -> None:
    async with transaction(service.context.pool) as conn:
        await append(conn, made, sequence=1)
        raise ZeroDivisionError
