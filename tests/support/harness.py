"""What tests of one service run on: its database, a full policy table, a clock that is told the time.

No broker: events are handed to the consumers as `Received`, and what the service said is read from its
outbox. The e2e tests use the real corridor instead.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.contracts import topics
from shared.contracts.documents import Document, Marker
from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from shared.database.migrate import app_role_of, migrate_database
from shared.database.pool import Conn, Pool, create_pool
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.settings import KafkaSettings
from shared.messaging.envelope import Envelope, Received
from shared.policy.policy import Policy
from shared.runtime.service import Service
from tests.support import organisation
from tests.support.signing import TRUST

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""A Monday morning; where every manual clock starts."""

NO_DOCUMENTS = "UPDATE document_counter SET revision = 0, count = 0, digest = decode(repeat('00', 32), 'hex')"
"""What belongs to an emptied table of documents."""

_PASSWORD = "test"

EventT = TypeVar("EventT", bound=Event)


@dataclass
class Connections:
    """To one service's database: what was opened stays, since connecting costs more than most tests do."""

    pool: Pool | None = None
    owner: Conn | None = None

    async def close(self) -> None:
        if self.pool is not None:
            await self.pool.close()
        if self.owner is not None:
            await self.owner.close()


_open: dict[str, Connections] = {}
"""By the app role's DSN, of every database that a `service_database` has made and not dropped."""


@asynccontextmanager
async def service_database(admin_dsn: str, service: str) -> AsyncIterator[str]:
    """A new database of one service, migrated; the DSN is its app role's. Dropped at the end."""
    name = f"jit_{service}_{secrets.token_hex(6)}"
    await migrate_database(admin_dsn, service, database=name, password=_PASSWORD)
    parts = urlsplit(admin_dsn)
    host = f"{parts.hostname}:{parts.port or 5432}"
    dsn = urlunsplit(("postgresql", f"{app_role_of(service)}:{_PASSWORD}@{host}", f"/{name}", "", ""))
    _open[dsn] = Connections()
    try:
        yield dsn
    finally:
        await _open.pop(dsn).close()
        conn = await asyncpg.connect(admin_dsn)
        await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await conn.close()


async def empty(admin_dsn: str, dsn: str, *tables: str, reset: str = "") -> None:
    """Leave nothing in these tables, whatever guards them, and run `reset`. No service's role can do that.

    DELETE, since TRUNCATE makes new files: that takes longer than most tests.
    """
    connections = _open[dsn]
    if connections.owner is None:
        owner = urlsplit(admin_dsn)._replace(path=urlsplit(dsn).path).geturl()
        connections.owner = await asyncpg.connect(owner)
        await connections.owner.execute(
            "SET session_replication_role = replica"
        )  # no foreign keys, no triggers
    await connections.owner.execute(f"{'; '.join(f'DELETE FROM {table}' for table in tables)}; {reset}")


def ready_tables(clock: ManualClock, documents: Mapping[str, Sequence[Document]] | None = None) -> Tables:
    """Tables that have read everything, with markers that stay as fresh as the clock stands now."""
    policy = Policy(organisation.ROLES, clock=clock, stale_after=timedelta(days=3650))
    for owner, owned in (documents or organisation.everything()).items():
        for document in owned:
            policy.take(owner, document)
        mark(policy, owner, owned, at=clock.now())
    return Tables(policy=policy, settings=KafkaSettings(), trust=TRUST)


def mark(policy: Policy, owner: str, documents: Sequence[Document], *, at: datetime) -> None:
    """Let an owner state that these documents are all there is."""
    policy.note_marker(marker_of(owner, documents, at=at))


def marker_of(
    owner: str, documents: Sequence[Document], *, at: datetime = NOW, revision: int | None = None
) -> Marker:
    """An owner's statement that these documents are all there is."""
    digest = 0
    for document in documents:
        digest ^= document.fingerprint
    newest = max((document.revision for document in documents), default=0)
    return Marker(
        owner=owner,
        revision=newest if revision is None else revision,
        count=sum(not document.deleted for document in documents),
        digest=f"{digest:064x}",
        at=at,
    )


def publish(policy: Policy, *documents: Document) -> None:
    """Let their owners publish these documents anew, each at the next revision of its owner."""
    for document in documents:
        owner = document.contract.OWNER
        newest = policy._copies[owner]._newest
        policy.take(owner, document.model_copy(update={"revision": newest + 1}))


@asynccontextmanager
async def with_pool(service: Service) -> AsyncIterator[Service]:
    """Give a service its database without starting consumers or relay."""
    dsn = service.settings.database_url.get_secret_value()
    connections = _open[dsn]
    if connections.pool is None:
        connections.pool = await create_pool(dsn, size=4)
    service.context.set_pool(connections.pool)
    try:
        yield service
    finally:
        service.context.set_pool(None)


def received(event: EventT, *, event_id: str | None = None, source: str | None = None) -> Received[EventT]:
    """An event as it arrives from its owner's topic."""
    return Received(
        event,
        Envelope(
            id=event_id or new_id(),
            type=event.TYPE,
            subject=event.subject,
            source=source or "test",
            time=event.at,
            carrier={},
        ),
    )


async def said(service: Service, *types: type[Event]) -> list[Event]:
    """The facts in a service's outbox, in order; of these types where any are named."""
    rows = await service.context.pool.fetch(
        "SELECT type, payload FROM outbox WHERE topic = ANY($1) ORDER BY id", _topics_of_facts(service.name)
    )
    events = [EVENTS[row["type"]].model_validate_json(row["payload"]) for row in rows]
    return [event for event in events if not types or isinstance(event, types)]


async def said_as_received(service: Service) -> list[Received[Any]]:
    """The facts in a service's outbox with their real ids, as another service would receive them."""
    rows = await service.context.pool.fetch(
        "SELECT event_id, type, payload FROM outbox WHERE topic = ANY($1) ORDER BY id",
        _topics_of_facts(service.name),
    )
    return [
        received(
            EVENTS[row["type"]].model_validate_json(row["payload"]),
            event_id=str(row["event_id"]),
            source=service.name,
        )
        for row in rows
    ]


def _topics_of_facts(owner: str) -> list[str]:
    return [
        topic.name for topic in topics.TOPICS.values() if topic.owner == owner and topic.cleanup == "delete"
    ]
