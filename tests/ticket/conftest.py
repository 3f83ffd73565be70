"""The ticket service on its own database, with the small organisation and a clock that is told the time."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.ticket.__main__ import build
from services.ticket.settings import TicketSettings
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.support.harness import NOW, ready_tables, service_database, with_pool
from tests.support.http import trusted
from tests.support.signing import key_settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
async def ticket_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "ticket") as dsn:
        yield dsn


@pytest.fixture
async def service(ticket_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    settings = TicketSettings(
        env="development",
        database_url=SecretStr(ticket_dsn),
        **key_settings("ticket"),
        issuers=(trusted(issuer),),
        protected_accounts=("444444444444",),
    )
    built = build(settings, process=Process(clock, ready_tables(clock)))
    async with with_pool(built):
        await built.context.pool.execute("DELETE FROM outbox; DELETE FROM inbox; DELETE FROM idempotency_key")
        yield built
