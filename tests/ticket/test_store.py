"""What `save` writes, publishes and logs."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from local.issuer import DevelopmentIssuer
from services.ticket.domain import endings
from services.ticket.store import tickets as store
from shared.contracts.access import AccessFailed, AccessGranting
from shared.contracts.change import Alert, Change
from shared.contracts.ticket import Ticket, TicketApproved
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Bug
from shared.runtime.service import Service
from tests.support.builders import access_fact
from tests.support.harness import NOW, said
from tests.support.work import deliver
from tests.ticket.test_domain import ORIGIN
from tests.ticket.test_http import approve_all, submitted


@pytest.fixture
async def ticket(service: Service, issuer: DevelopmentIssuer) -> Ticket:
    """For two people, approved."""
    made = await submitted(service, issuer, "bob", beneficiaries=["ann", "bob"])
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


async def test_save_writes_only_the_grants_that_begin_or_cease_to_be_live(
    service: Service, ticket: Ticket
) -> None:
    first, second = ticket.grants
    before = await written(service, ticket)
    assert {live for _, live in before.values()} == {True}
    await deliver(service, access_fact(AccessGranting, ticket, first, at=NOW))
    assert await written(service, ticket) == before
    await deliver(service, access_fact(AccessFailed, ticket, first, at=NOW, code="aws"))
    after = await written(service, ticket)
    assert after[second.id] == before[second.id]
    assert after[first.id][1] is False


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
