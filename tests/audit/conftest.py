"""The audit service on its own database, emptied as only a superuser can who turns its triggers off."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.audit.__main__ import build
from services.audit.settings import AuditSettings
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.support.harness import NOW, empty, ready_tables, service_database, with_pool
from tests.support.http import trusted
from tests.support.organisation import ROLES
from tests.support.signing import key_settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="session")
async def migrated_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "audit") as dsn:
        yield dsn


@pytest.fixture
async def audit_dsn(admin_dsn: str, migrated_dsn: str) -> str:
    common = ("inbox", "outbox", "dead_letter", "idempotency_key")
    head = "UPDATE log_head SET last_sequence = 0"
    await empty(
        admin_dsn, migrated_dsn, "audit_event", "log_account", "log_person", "log_hour", *common, reset=head
    )
    return migrated_dsn


@pytest.fixture
async def service(audit_dsn: str, clock: ManualClock, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    settings = AuditSettings(
        env="development",
        database_url=SecretStr(audit_dsn),
        **key_settings("audit"),
        issuers=(trusted(issuer),),
        role_admin=tuple(ROLES["admin"]),
        role_auditor=tuple(ROLES["auditor"]),
    )
    async with with_pool(build(settings, process=Process(clock, ready_tables(clock)))) as built:
        yield built
