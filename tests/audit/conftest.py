"""The audit service on a database of its own per test: nobody, a test neither, can empty an audit log."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.audit.__main__ import build
from services.audit.settings import AuditSettings
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.support.harness import NOW, ready_tables, service_database, with_pool
from tests.support.http import trusted
from tests.support.organisation import ROLES
from tests.support.servers import fresh_database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
async def migrated_dsn(admin_dsn: str) -> AsyncIterator[str]:
    """A migrated database that tests copy, which is quicker than migrating anew; nobody connects to it."""
    async with service_database(admin_dsn, "audit") as dsn:
        yield dsn


@pytest.fixture
async def audit_dsn(admin_dsn: str, migrated_dsn: str) -> AsyncIterator[str]:
    migrated = urlsplit(migrated_dsn)
    async with fresh_database(admin_dsn, template=migrated.path.removeprefix("/")) as copy:
        yield migrated._replace(path=urlsplit(copy).path).geturl()


@pytest.fixture
async def service(audit_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    settings = AuditSettings(
        env="development",
        database_url=SecretStr(audit_dsn),
        issuers=(trusted(issuer),),
        role_admin=tuple(ROLES["admin"]),
        role_auditor=tuple(ROLES["auditor"]),
    )
    async with with_pool(build(settings, process=Process(clock, ready_tables(clock)))) as built:
        yield built
