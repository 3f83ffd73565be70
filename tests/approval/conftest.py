"""The approval service on its own database, with the small organisation and a clock that is told the time."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.approval.__main__ import build
from services.approval.settings import ApprovalSettings
from shared.database.pool import Conn, transaction
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.approval.requests import Desk
from tests.support import organisation
from tests.support.harness import NOW, ready_tables, service_database, with_pool
from tests.support.http import trusted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
async def database(admin_dsn: str) -> AsyncIterator[tuple[str, Conn]]:
    """The service's DSN, and a connection that may empty its tables: its own role cannot take a vote back."""
    async with service_database(admin_dsn, "approval") as dsn:
        owner = await asyncpg.connect(admin_dsn, database=urlsplit(dsn).path.lstrip("/"))
        yield dsn, owner
        await owner.close()


@pytest.fixture
async def service(
    database: tuple[str, Conn], clock: ManualClock, issuer: DevelopmentIssuer
) -> AsyncIterator[Service]:
    dsn, owner = database
    await owner.execute(EMPTY)
    settings = ApprovalSettings(
        env="development",
        database_url=SecretStr(dsn),
        issuers=(trusted(issuer),),
        role_admin=tuple(organisation.ROLES["admin"]),
        role_auditor=tuple(organisation.ROLES["auditor"]),
    )
    async with with_pool(build(settings, process=Process(clock, ready_tables(clock)))) as built:
        async with transaction(built.context.pool) as conn:
            await document_store.put(conn, "approval", *organisation.rules(), at=NOW)
        yield built


EMPTY = """
    TRUNCATE ticket, stop, review, vote, review_voter, review_approver, review_party, live_grant, document,
        outbox, inbox, idempotency_key;
    UPDATE document_counter SET revision = 0, count = 0, digest = decode(repeat('00', 32), 'hex');
"""


@pytest.fixture
def desk(service: Service, issuer: DevelopmentIssuer) -> Desk:
    return Desk(service, issuer)
