"""What `save` writes, publishes and logs."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from local.issuer import DevelopmentIssuer
from services.ticket import views
from services.ticket.commands.grants import note_access as note_access_fact
from services.ticket.domain import endings
from services.ticket.domain.grants import note_access
from services.ticket.domain.reviews import approve
from services.ticket.store import tickets as store
from shared.contracts.access import AccessFailed, AccessGranted, AccessGranting, AccessRevokeDue
from shared.contracts.change import Alert, Change
from shared.contracts.extension import ExtensionState
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, GrantState, TargetState, Ticket, TicketApproved, TicketState
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import new_id
from shared.foundation.errors import Bug
from shared.runtime.service import Service
from tests.support import fact_parts
from tests.support import organisation as org
from tests.support.builders import access_fact, review_approved
from tests.support.harness import NOW, received, said
from tests.support.work import deliver
from tests.ticket.test_domain import ORIGIN
from tests.ticket.test_http import approve_all, submitted


@pytest.fixture
async def ticket(service: Service, issuer: DevelopmentIssuer) -> Ticket:
    """For two people, approved."""
    made = await submitted(service, issuer, "bob", beneficiaries=["ann", "bob"], reference="INC-77")
    await approve_all(service, made["id"])
    (fact,) = await said(service, TicketApproved)
    assert isinstance(fact, TicketApproved)
    return fact.ticket


async def in_a_unit(service: Service, command: Callable[[UnitOfWork], Awaitable[None]]) -> None:
    async with service.context.unit_of_work() as unit:
        await command(unit)


def returned_by_the_first(ticket: Ticket) -> Change[Ticket]:
    return endings.return_access(ticket, ticket.grants[0].beneficiary, ORIGIN)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the store logs from now on."""
    capture = LogCapture()
    monkeypatch.setattr(store, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries  # type: ignore[return-value]


async def written(service: Service, ticket: Ticket) -> dict[str, tuple[str, bool]]:
    """Which transaction wrote each grant's row last, and whether it is live."""
    rows = await service.context.pool.fetch(
        "SELECT id, xmin::text AS by, live FROM ticket_grant WHERE ticket_id = $1", ticket.id
    )
    return {str(row["id"]): (row["by"], row["live"]) for row in rows}


async def test_save_writes_only_the_grant_that_changed_and_whether_it_is_live(
    service: Service, ticket: Ticket
) -> None:
    first, second = ticket.grants
    before = await written(service, ticket)
    assert {live for _, live in before.values()} == {True}
    await deliver(service, access_fact(AccessGranting, ticket, first, at=NOW))
    granting = await written(service, ticket)
    assert granting[second.id] == before[second.id]
    assert granting[first.id][1] is True
    await deliver(service, access_fact(AccessFailed, ticket, first, at=NOW, code="aws"))
    after = await written(service, ticket)
    assert after[second.id] == before[second.id]
    assert after[first.id][1] is False


def wide(people: int) -> Ticket:
    """One target for so many people, in the words of the contract."""
    narrow = fact_parts.ticket()
    ids, (target,) = fresh_ids(), narrow.targets
    holders = tuple(Person(user_id=f"user-{n}", user_name=f"user-{n}") for n in range(people))
    grants = tuple(Grant(id=next(ids), target_id=target.id, beneficiary=holder.user_id) for holder in holders)
    return narrow.model_copy(update={"version": 1, "beneficiaries": holders, "grants": grants})


def fresh_ids() -> Iterator[str]:
    while True:
        yield new_id()


@asynccontextmanager
async def dropped_unit(service: Service) -> AsyncIterator[UnitOfWork]:
    """A unit of work that is rolled back at the end."""
    async with service.context.pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        yield UnitOfWork(conn)
        await transaction.rollback()


async def rows_written(unit: UnitOfWork) -> int:
    written: int = await unit.conn.fetchval(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_xact_user_tables"
    )
    return written


@pytest.mark.parametrize("people", [1, 47])
async def test_access_fact_writes_two_rows_however_wide_the_ticket_is(service: Service, people: int) -> None:
    async with dropped_unit(service) as unit:
        ticket = wide(people)
        await store.add(unit, Change(ticket))
        target = ticket.targets[0]
        review = review_approved(ticket, target, at=NOW)
        ticket = await saved(unit, ticket, approve(ticket, ticket.subject_of(target), review, ORIGIN))
        for grant in ticket.grants:
            for cls in (AccessGranting, AccessRevokeDue):
                more = {"cause_of_end": "expired"} if cls is AccessRevokeDue else {}
                fact = access_fact(cls, ticket, grant, at=NOW, **more)
                before = await rows_written(unit)
                ticket = await saved(unit, ticket, note_access(ticket, fact, ORIGIN))
                assert await rows_written(unit) - before == 2, "the ticket's row and the grant's"
        assert await store.load(unit, ticket.id) == ticket


async def saved(unit: UnitOfWork, ticket: Ticket, change: Change[Ticket]) -> Ticket:
    await store.save(unit, ticket, change)
    await unit.write_collected()
    return change.state


async def test_facts_about_a_wide_ticket_in_one_unit_write_each_row_once(service: Service) -> None:
    async with dropped_unit(service) as unit:
        ticket = wide(47)
        await store.add(unit, Change(ticket))
        review = review_approved(ticket, ticket.targets[0], at=NOW)
        ticket = await saved(
            unit, ticket, approve(ticket, ticket.subject_of(ticket.targets[0]), review, ORIGIN)
        )
        another = UnitOfWork(unit.conn)
        before = await written_by_table(unit)
        for cls, grant in itertools.product((AccessGranting, AccessGranted), ticket.grants):
            more = {"credentials_until": NOW} if cls is AccessGranted else {}
            fact = access_fact(cls, ticket, grant, at=NOW, **more)
            await note_access_fact(service.context, another, received(fact))
        assert await written_by_table(unit) == before
        loaded = await store.load(another, ticket.id)
        await another.write_collected()
        since = {name: n - before[name] for name, n in (await written_by_table(unit)).items()}
        assert {name: n for name, n in since.items() if n} == {"ticket": 1, "ticket_grant": 47}
        assert loaded == await views.ticket(unit.conn, ticket.id)
        assert loaded is not None
        assert {grant.state for grant in loaded.grants} == {GrantState.ACTIVE}
        assert loaded.version == ticket.version + 2 * 47


async def written_by_table(unit: UnitOfWork) -> dict[str, int]:
    rows = await unit.conn.fetch(
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS n FROM pg_stat_xact_user_tables"
    )
    return {row["relname"]: row["n"] for row in rows}


async def test_save_of_what_the_unit_has_changed_since_is_a_bug(service: Service, ticket: Ticket) -> None:
    async with dropped_unit(service) as unit:
        loaded = await store.load(unit, ticket.id)
        assert loaded == ticket
        await store.save(unit, ticket, returned_by_the_first(ticket))
        with pytest.raises(Bug):
            await store.save(unit, ticket, returned_by_the_first(ticket))


WHOLE = {
    "pending": fact_parts.ticket(),
    "with everything a grant can say": fact_parts.ticket(
        TargetState.APPROVED, GrantState.RELEASED, TicketState.CLOSED,
        ends_at=NOW, code="expired", detail="seen", granted_at=NOW, ended_at=NOW, kept_by=("a", "b"),
        already_held=True, credentials_until=NOW,
    ).model_copy(update={"credentials_until": NOW, "closed_at": NOW}),
    "with an extension": fact_parts.extended(
        ExtensionState.FAILED, code="too_late", window=fact_parts.EXTENDED, decided_at=NOW
    ),
}  # fmt: skip


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
async def test_load_gives_the_ticket_that_was_stored_to_the_microsecond(
    service: Service, whole: Ticket
) -> None:
    odd = NOW + timedelta(microseconds=123457)
    ticket = whole.model_copy(update={"submitted_at": odd})
    async with dropped_unit(service) as unit:
        await store.add(unit, Change(ticket))
        assert await store.load(unit, ticket.id) == ticket
        assert await views.ticket(unit.conn, ticket.id) == ticket


FILTERS: dict[str, dict[str, str]] = {
    "party": {"party": org.user_id("ann")},
    "requester": {"requester": org.user_id("bob")},
    "beneficiary": {"beneficiary": org.user_id("ann")},
    "account": {"account_id": org.P},
    "set": {"set_id": org.ADMIN},
    "reference": {"reference": "INC-77"},
    "state": {"state": "scheduled"},
    "all of them": {
        "party": org.user_id("ann"), "requester": org.user_id("bob"), "beneficiary": org.user_id("ann"),
        "account_id": org.P, "set_id": org.ADMIN, "reference": "INC-77", "state": "scheduled",
    },
}  # fmt: skip
NOT_IT = {
    "party": org.user_id("eve"), "requester": org.user_id("ann"), "beneficiary": org.user_id("eve"),
    "account_id": org.S, "set_id": org.READ, "reference": "INC-78", "state": "closed",
}  # fmt: skip


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
async def test_list_finds_a_ticket_by_each_filter_and_not_by_another_value(
    service: Service, ticket: Ticket, wanted: dict[str, str]
) -> None:
    async with service.context.pool.acquire() as conn:
        found = await views.tickets(conn, views.Filter(**wanted, limit=200))
        assert ticket.id in {one.id for one in found}
        for name in wanted:
            other = views.Filter(**{**wanted, name: NOT_IT[name]}, limit=200)
            assert ticket.id not in {one.id for one in await views.tickets(conn, other)}


async def test_beneficiary_filter_leaves_out_who_only_asked(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    made = await submitted(service, issuer, "bob", beneficiaries=["ann"])
    async with service.context.pool.acquire() as conn:
        found = await views.tickets(conn, views.Filter(beneficiary=org.user_id("bob"), limit=200))
        assert made["id"] not in {one.id for one in found}


async def test_save_of_a_change_that_leaves_the_ticket_as_it_was_writes_nothing_and_alerts(
    service: Service, ticket: Ticket
) -> None:
    alert = Alert("approval_invalid/x", "summary", "detail")
    query = "SELECT xmin::text FROM ticket WHERE id = $1"
    before = await service.context.pool.fetchval(query, ticket.id)
    events = len(await said(service))
    await in_a_unit(service, lambda unit: store.save(unit, ticket, Change(ticket, alerts=(alert,))))
    assert await service.context.pool.fetchval(query, ticket.id) == before
    assert len(await said(service)) == events
    assert [one.key for one in service.context.alerts.active] == [alert.key]


async def test_save_over_another_version_is_a_bug_and_leaves_no_event(
    service: Service, ticket: Ticket
) -> None:
    stale = ticket.model_copy(update={"version": ticket.version - 1})
    change = endings.withdraw(stale, stale.requester.user_id, ORIGIN)
    events = len(await said(service))
    with pytest.raises(Bug):
        await in_a_unit(service, lambda unit: store.save(unit, stale, change))
    assert len(await said(service)) == events


async def test_save_logs_one_line_for_the_ticket_and_one_for_each_grant_that_changed(
    service: Service, ticket: Ticket, lines: list[dict[str, Any]]
) -> None:
    change = endings.return_access(ticket, ticket.grants[0].beneficiary, ORIGIN)
    await in_a_unit(service, lambda unit: store.save(unit, ticket, change))
    about = {"service": "ticket", "ticket": ticket.id, "version": 3, "log_level": "info"}
    assert lines == [
        about | {"event": "ticket returned", "state": "revoking", "targets": [ticket.targets[0].id]},
        about
        | {
            "event": "grant changed",
            "grant": ticket.grants[0].id,
            "state": "revoking",
            "code": "returned",
        },
    ]


async def test_save_that_is_rolled_back_logs_nothing(
    service: Service, ticket: Ticket, lines: list[dict[str, Any]]
) -> None:
    change = endings.return_access(ticket, ticket.grants[0].beneficiary, ORIGIN)

    async def fail_afterwards(unit: UnitOfWork) -> None:
        await store.save(unit, ticket, change)
        raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        await in_a_unit(service, fail_afterwards)
    assert lines == []
