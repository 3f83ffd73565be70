"""Looking into an audit log from outside: records as stored, and facts kept as its consumers keep them."""

import json
from typing import Any, TypeVar

import asyncpg

from services.audit import commands
from services.audit.domain.mapping import Product
from shared.contracts.event import Event
from shared.database.migrate import owner_role_of
from shared.runtime.service import Service
from tests.support.harness import received

PRODUCT = Product("default", "1.4.0")

EventT = TypeVar("EventT", bound=Event)


async def keep(service: Service, *events: Event, event_id: str | None = None, source: str = "ticket") -> None:
    """Hand facts to the log as a consumer would."""
    for event in events:
        arrived = received(event, event_id=event_id, source=source)
        async with service.context.unit_of_work() as work:
            await commands.keep(service.context, work, arrived, product=PRODUCT)


async def records(service: Service, code: str | None = None) -> list[dict[str, Any]]:
    """What is stored, in order."""
    rows = await service.context.pool.fetch(
        "SELECT ocsf FROM audit_event WHERE $1::text IS NULL OR event_code = $1 ORDER BY sequence", code
    )
    return [json.loads(row["ocsf"]) for row in rows]


async def sequences(service: Service) -> list[int]:
    rows = await service.context.pool.fetch("SELECT sequence FROM audit_event ORDER BY sequence")
    return [row["sequence"] for row in rows]


async def as_owner(admin_dsn: str, dsn: str) -> asyncpg.Connection:
    """A connection to the same database as the role that owns its tables."""
    conn = await asyncpg.connect(admin_dsn, database=dsn.rpartition("/")[2])
    await conn.execute(f"SET ROLE {owner_role_of('audit')}")
    return conn
