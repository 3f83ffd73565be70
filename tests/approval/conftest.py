"""The approval service on its own database, with the small organisation and a clock that is told the time."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.approval.__main__ import build
from services.approval.settings import ApprovalSettings
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.approval.requests import Desk
from tests.support import organisation
from tests.support.harness import NO_DOCUMENTS, NOW, empty, ready_tables, service_database, with_pool
from tests.support.http import trusted
from tests.support.signing import key_settings
from tests.support.units import unit


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
async def approval_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "approval") as dsn:
        yield dsn


@pytest.fixture
async def service(
    admin_dsn: str, approval_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer
) -> AsyncIterator[Service]:
    await empty(admin_dsn, approval_dsn, *TABLES, reset=NO_DOCUMENTS)
    settings = ApprovalSettings(
        env="development",
        database_url=SecretStr(approval_dsn),
        **key_settings("approval"),
        issuers=(trusted(issuer),),
        role_admin=tuple(organisation.ROLES["admin"]),
        role_auditor=tuple(organisation.ROLES["auditor"]),
    )
    async with with_pool(build(settings, process=Process(clock, ready_tables(clock)))) as built:
        async with unit(built.context.pool) as work:
            await document_store.put(work, "approval", *organisation.rules(), at=NOW)
        yield built


TABLES = (
    "ticket", "stop", "review", "vote", "review_voter", "review_person", "live_grant",
    "document", "outbox", "inbox", "idempotency_key",
)  # fmt: skip


@pytest.fixture
def desk(service: Service, issuer: DevelopmentIssuer) -> Desk:
    return Desk(service, issuer)
