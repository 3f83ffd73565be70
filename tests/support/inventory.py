"""The provisioner's context on a database without documents, and looks into what a sync left there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from services.provisioner.commands.inventory import SyncResult
from shared.context import Context
from shared.contracts import documents as doc
from shared.documents import document_store
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock
from shared.foundation.settings import KafkaSettings, ServiceSettings
from shared.messaging.outbox import MARKER_TYPE
from shared.policy.policy import Policy
from shared.runtime.service import Parts, Process, Service
from tests.support.harness import NO_DOCUMENTS, NOW, empty, with_pool
from tests.support.signing import TRUST, key_settings


@asynccontextmanager
async def provisioner_context(admin_dsn: str, dsn: str) -> AsyncIterator[Context]:
    """On `dsn`, emptied of documents first (which the app role must not do)."""
    await empty(
        admin_dsn, dsn, "document", "outbox", "inventory_part", "inventory_missing", reset=NO_DOCUMENTS
    )
    settings = ServiceSettings(env="development", database_url=SecretStr(dsn), **key_settings("provisioner"))
    clock = ManualClock(NOW)
    process = Process(clock, empty_tables(clock))
    async with with_pool(Service("provisioner", settings, Parts(), process=process)) as service:
        yield service.context


def empty_tables(clock: ManualClock) -> Tables:
    return Tables(
        policy=Policy(clock=clock, stale_after=timedelta(minutes=1)), settings=KafkaSettings(), trust=TRUST
    )


async def stored(context: Context, cls: type[doc.Document]) -> dict[str, Any]:
    """Live documents of a class by id."""
    async with context.pool.acquire() as conn:
        return {document.id: document for document in await document_store.all_of(conn, cls)}


async def published(context: Context) -> int:
    """How many documents were ever handed to the relay."""
    count: int = await context.pool.fetchval("SELECT count(*) FROM outbox WHERE type <> $1", MARKER_TYPE)
    return count


def alerts(context: Context) -> set[str]:
    return {alert.key for alert in context.alerts.active}


def changed_keys(result: SyncResult) -> set[str]:
    return {document.key for document in (*result.changed, *result.removed)}
