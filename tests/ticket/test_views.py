"""Each set of filters of the list of tickets against the same question asked of the tickets one by one."""

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import asyncpg
import pytest

from services.ticket import views
from services.ticket.store import tickets as store
from services.ticket.views import Filter
from shared.contracts.change import Change
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, Target, Ticket, TicketState
from shared.database.filters import query
from shared.database.pool import Pool, create_pool
from shared.foundation.clock import new_id
from tests.support import fact_parts
from tests.support.harness import service_database
from tests.support.plans import plan_of
from tests.support.units import unit


@dataclass(frozen=True)
class Filled:
    pool: Pool
    tickets: list[Ticket]
    """Newest first."""


@pytest.fixture(scope="module")
async def filled(admin_dsn: str) -> AsyncIterator[Filled]:
    async with service_database(admin_dsn, "ticket") as dsn:
        pool = await create_pool(dsn, size=1)
        tickets = list(_tickets())
        for ticket in tickets:
            async with unit(pool) as work:
                await store.add(work, Change(ticket))
        yield Filled(pool, tickets[::-1])
        await pool.close()


def _tickets() -> Iterator[Ticket]:
    """Of several people, with one or two targets, also twice on one account."""
    states = (TicketState.CLOSED, TicketState.ACTIVE, TicketState.CLOSED, TicketState.FAILED)
    for number in range(60):
        made = fact_parts.ticket(state=states[number % 4])
        people = tuple(_person(one) for one in (f"p{number % 3}", f"p{number % 5}"))
        targets = (_target(made, f"a{number % 3}", "s1"), _target(made, f"a{number % 6}", f"s{number % 2}"))
        yield made.model_copy(
            update={
                "id": new_id(),
                "requester": people[0],
                "beneficiaries": people[:1] if number % 2 else tuple(dict.fromkeys(people[1:])),
                "targets": targets,
                "grants": tuple(
                    Grant(id=new_id(), target_id=one.id, beneficiary=people[0].user_id) for one in targets
                ),
                "reference": f"INC-{number % 4}",
            }
        )


def _person(name: str) -> Person:
    return Person(user_id=name, user_name=name)


def _target(made: Ticket, account_id: str, set_id: str) -> Target:
    changes = {"id": new_id(), "subject_id": new_id(), "account_id": account_id, "set_id": set_id}
    return made.targets[0].model_copy(update=changes)


def matches(ticket: Ticket, wanted: Filter) -> bool:
    return (
        wanted.party in {None, *ticket.parties}
        and wanted.state in {None, ticket.state}
        and wanted.account_id in {None, *(target.account_id for target in ticket.targets)}
        and wanted.set_id in {None, *(target.set_id for target in ticket.targets)}
        and wanted.requester in {None, ticket.requester.user_id}
        and wanted.beneficiary in {None, *(person.user_id for person in ticket.beneficiaries)}
        and wanted.reference in {None, ticket.reference}
        and (wanted.before is None or ticket.id < wanted.before)
    )


@pytest.mark.parametrize("account_id", [None, "a1", "a5", "nothing"])
@pytest.mark.parametrize("state", [None, "closed", "failed", "timed_out"])
async def test_every_set_of_filters_gives_what_matches_newest_first(
    filled: Filled, account_id: str | None, state: str | None
) -> None:
    middle = filled.tickets[30].id
    others = [(None, "p1"), (None, "s0"), (None, "p2"), (None, "p1", "p4"), (None, "INC-3"), (None, middle)]
    async with filled.pool.acquire() as conn:
        for party, set_id, requester, beneficiary, reference, before in itertools.product(*others):
            wanted = Filter(
                party, state, account_id, set_id, requester, beneficiary, reference, before, limit=3
            )
            expected = [ticket.id for ticket in filled.tickets if matches(ticket, wanted)]
            assert [one.id for one in await views.tickets(conn, wanted)] == expected[:3], wanted


async def test_every_state_can_be_asked_for(filled: Filled) -> None:
    async with filled.pool.acquire() as conn:
        for state in TicketState:
            found = await views.tickets(conn, Filter(state=state, limit=200))
            assert {one.id for one in found} == {one.id for one in filled.tickets if one.state == state}


async def test_accounts_and_sets_of_tickets_from_before_are_those_that_new_ones_have(filled: Filled) -> None:
    for table, column in (("ticket_account", "account_id"), ("ticket_set", "set_id")):
        kept = await filled.pool.fetch(f"SELECT {column}, ticket_id FROM {table} ORDER BY 1, 2")
        of_targets = await filled.pool.fetch(
            f"SELECT DISTINCT {column}, ticket_id FROM ticket_target ORDER BY 1, 2"
        )
        assert kept == of_targets


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "ticket_pkey"),
        (Filter(party="p1"), "ticket_party_pkey"),
        (Filter(party="p1", state="closed"), "ticket_party_pkey"),
        (Filter(account_id="a1"), "ticket_account_pkey"),
        (Filter(account_id="a1", state="closed"), "ticket_account_pkey"),
        (Filter(account_id="a1", state="failed"), "ticket_state"),
        (Filter(set_id="s1", party="p1"), "ticket_party_pkey"),
        (Filter(state="failed"), "ticket_state"),
        (Filter(reference="INC-1"), "ticket_reference"),
    ],
    ids=str,
)
async def test_page_is_a_walk_along_one_index(admin_dsn: str, large: str, wanted: Filter, index: str) -> None:
    conn = await asyncpg.connect(large)
    shown = await plan_of(conn, *query(views._PAGE, views._matching(wanted), limit=50))
    await conn.close()
    assert index in shown
    assert not re.search(r"Seq Scan on ticket(_party|_account|_set|_target)?\b(?!_)", shown)


@pytest.fixture(scope="module")
async def large(admin_dsn: str) -> AsyncIterator[str]:
    """The DSN of 50,000 tickets, of which hardly any has failed."""
    async with service_database(admin_dsn, "ticket") as dsn:
        owner = await asyncpg.connect(admin_dsn, database=dsn.rpartition("/")[2])
        await owner.execute(MANY)
        await owner.close()
        yield dsn


MANY = """
    INSERT INTO ticket (id, instance, version, requester, requester_named, beneficiaries, description,
        submitted_at, state, revisions)
    SELECT ('01977f0b-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'default', 1, 'p' || n % 100, '{}',
        '[]', jsonb_build_object('reference', 'INC-' || n), now(),
        CASE WHEN n % 1000 = 1 THEN 'failed' ELSE 'closed' END, '{}' FROM generate_series(1, 50000) AS n;
    INSERT INTO ticket_party (user_id, ticket_id, benefits) SELECT requester, id, true FROM ticket;
    INSERT INTO ticket_target (id, ticket_id, position, account_id, account_name, set_id, set_name, revision)
    SELECT gen_random_uuid(), id, 0, 'a' || row_number() OVER () % 50, 'a', 's' || row_number() OVER () % 5,
        's', 1 FROM ticket;
    ANALYZE
"""
