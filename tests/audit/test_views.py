"""Each set of filters against the same question asked of the records one by one."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.audit import store, views
from services.audit.domain.mapping import Record, translate
from services.audit.views import Filters, Range
from shared.contracts.access import AccessGranted
from shared.contracts.approval import ReviewDecided
from shared.contracts.ticket import TicketSubmitted
from shared.database.filters import query
from shared.database.migrate import app_role_of
from shared.database.pool import Pool, create_pool
from shared.database.schema import apply_migrations, migrations_of
from shared.foundation.clock import new_id
from tests.support.audit_log import PRODUCT
from tests.support.facts import example
from tests.support.harness import NOW, service_database
from tests.support.plans import plan_of
from tests.support.servers import fresh_database
from tests.support.units import unit

HOUR = timedelta(hours=1)
CLASSES = (TicketSubmitted, AccessGranted, ReviewDecided)
ASKED: dict[str, tuple[Any, ...]] = {
    "ticket_id": (None, "t1"),
    "actor": (None, "user-ann", "provisioner"),
    "account_id": (None, "a1", "a2"),
    "user_id": (None, "user-ann", "user-carl", "user-zoe"),
    "type": (None, "ticket.submitted", "audit.read"),
    "since": (None, NOW + timedelta(minutes=50)),
    "until": (None, NOW + timedelta(minutes=90)),
}


def written() -> list[Record]:
    """Records of three tickets, some of them of long before those in front of them."""
    return list(_written())


def _written() -> Iterator[Record]:
    for number in range(90):
        made = translate(example(CLASSES[number % 3]), event_id=new_id(), source="ticket", product=PRODUCT)
        people = ("user-ann", "user-bob") if number % 4 else ("user-eve",)
        late = 40 * HOUR if number % 11 == 0 else timedelta(0)
        yield _about(
            made,
            ticket_id=f"t{number % 5}",
            account_ids=(f"a{number % 3}", *(["a1"] if number % 7 == 0 else [])),
            party_ids=people if number % 2 else (),
            addressee_ids=("user-zoe",) if number % 13 == 0 else (),
            occurred_at=NOW + number * timedelta(minutes=2) - late,
        )


def _about(made: Record, *, addressee_ids: tuple[str, ...], **changes: Any) -> Record:
    doer = (made.actor_id,) if made.actor_id.startswith("user-") else ()
    people = tuple(dict.fromkeys((*changes["party_ids"], *addressee_ids, *doer)))
    return Record(**{**made.__dict__, **changes, "person_ids": people})


@dataclass(frozen=True)
class Filled:
    pool: Pool
    records: list[Record]


@pytest.fixture(scope="module")
async def filled(admin_dsn: str) -> AsyncIterator[Filled]:
    async with service_database(admin_dsn, "audit") as dsn:
        pool = await create_pool(dsn, size=1)
        records = written()
        async with unit(pool) as work:
            for first in range(0, len(records), 30):
                await store.save(work, records[first : first + 30], at=NOW)
        yield Filled(pool, records)
        await pool.close()


def matches(record: Record, filters: Filters) -> bool:
    happened = record.occurred_at
    return (
        filters.ticket_id in {None, record.ticket_id}
        and filters.actor in {None, record.actor_id}
        and filters.account_id in {None, *record.account_ids}
        and filters.user_id in {None, *record.person_ids}
        and filters.type in {None, record.code}
        and (filters.since is None or filters.since <= happened)
        and (filters.until is None or happened < filters.until)
    )


@pytest.mark.parametrize("ticket_id", ASKED["ticket_id"])
@pytest.mark.parametrize("account_id", ASKED["account_id"])
async def test_every_set_of_filters_gives_what_matches_in_order_by_pages_and_counts_it(
    filled: Filled, ticket_id: str | None, account_id: str | None
) -> None:
    others = [ASKED[name] for name in ("actor", "user_id", "type", "since", "until")]
    async with filled.pool.acquire() as conn:
        for actor, user_id, kind, since, until in itertools.product(*others):
            filters = Filters(ticket_id, actor, account_id, user_id, kind, since, until)
            expected = [number for number, record in enumerate(filled.records, 1) if matches(record, filters)]
            whole = Range(0, len(filled.records))
            first = await views.page(conn, filters, whole, limit=4)
            assert [one.sequence for one in first] == expected[:4], filters
            rest = await views.page(conn, filters, Range(20, 70), limit=200)
            assert [one.sequence for one in rest] == [one for one in expected if 20 < one <= 70], filters
            assert await views.count(conn, filters, whole) == len(expected), filters


async def test_time_without_a_fact_gives_nothing(filled: Filled) -> None:
    async with filled.pool.acquire() as conn:
        for filters in (Filters(until=NOW - 90 * HOUR), Filters(since=NOW + 90 * HOUR)):
            assert await views.page(conn, filters, Range(0, 90), limit=10) == []
            assert await views.count(conn, filters, Range(0, 90)) == 0


async def test_rows_of_a_log_from_before_are_those_that_append_writes(admin_dsn: str, filled: Filled) -> None:
    """The migration searches the records that are there as they are searched when they are new.

    Zoe is but an addressee; then nobody was found as one.
    """
    migrations = migrations_of("audit")
    before = migrations[: [one.name for one in migrations].index("audit/0003_queries")]
    async with fresh_database(admin_dsn) as dsn:
        conn = await asyncpg.connect(dsn)
        await apply_migrations(conn, before, app_role=app_role_of("audit"))
        await conn.copy_records_to_table(
            "audit_event", records=[tuple(row) for row in await filled.pool.fetch(EVERYTHING)]
        )
        await apply_migrations(conn, migrations, app_role=app_role_of("audit"))
        for table in ("log_account", "(SELECT * FROM log_person WHERE user_id <> 'user-zoe')", "log_hour"):
            rows = f"SELECT * FROM {table} AS t ORDER BY 1, 2"
            assert await conn.fetch(rows) == await filled.pool.fetch(rows)
        await conn.close()


EVERYTHING = "SELECT * FROM audit_event ORDER BY sequence"


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(ticket_id="t1"), "audit_event_ticket"),
        (Filters(actor="nobody"), "audit_event_actor"),
        (Filters(actor="provisioner", type="audit.read"), "audit_event_actor_code"),
        (Filters(type="audit.read"), "audit_event_code"),
        (Filters(account_id="a1"), "log_account_pkey"),
        (Filters(account_id="a1", type="audit.read"), "log_account_code"),
        (Filters(user_id="user-ann", until=NOW), "log_person_pkey"),
    ],
    ids=str,
)
async def test_page_is_a_walk_along_the_rows_of_what_is_asked_for(
    admin_dsn: str, large: str, filters: Filters, index: str
) -> None:
    """By a plan that knows no values, as the service has it: neither the whole log nor a sort."""
    conn = await asyncpg.connect(large)
    walk = await views._walk(conn, filters)
    bounds = views._matching(walk, filters, Range(0, 50_000))
    shown = await plan_of(conn, *query(walk.page, bounds, limit=100))
    await conn.close()
    assert index in shown
    assert "Seq Scan" not in shown
    assert "Sort" not in shown


@pytest.fixture(scope="module")
async def large(admin_dsn: str) -> AsyncIterator[str]:
    """The DSN of a log of 50,000 records, by few actors, of few types."""
    async with service_database(admin_dsn, "audit") as dsn:
        owner = await asyncpg.connect(admin_dsn, database=dsn.rpartition("/")[2])
        await owner.execute(MANY)
        await owner.close()
        yield dsn


MANY = """
    INSERT INTO audit_event (sequence, event_id, source, event_code, ticket_id, actor_id, account_ids,
        party_ids, occurred_at, recorded_at, ocsf)
    SELECT n, gen_random_uuid(), 'ticket', 'code' || n % 4, 't' || n / 10, 'actor' || n % 4, '{}', '{}',
        timestamptz '2026-01-01Z' + n * interval '1 minute', now(), '{}' FROM generate_series(1, 50000) AS n;
    INSERT INTO log_account SELECT 'a' || n % 3, n, 'code' || n % 4, 'actor' || n % 4, now()
        FROM generate_series(1, 50000) AS n;
    INSERT INTO log_person SELECT 'user-' || n % 3, n, 'code' || n % 4, 'actor' || n % 4, now()
        FROM generate_series(1, 50000) AS n;
    ANALYZE
"""
