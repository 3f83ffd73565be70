"""What a command, a route or a background task of a service may reach. Made by shared/runtime/service.py."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.contracts.change import Origin
from shared.contracts.event import Actor, Event
from shared.database.pool import Conn, Pool
from shared.database.unit_of_work import Hook, UnitOfWork, unit_of_work
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.errors import NotReady
from shared.foundation.settings import ServiceSettings
from shared.identity.bindings import Answers, FirstSight
from shared.identity.tokens import TokenVerifier
from shared.messaging.envelope import Received
from shared.observability.alerts import Alerts
from shared.policy.policy import Policy


async def _true_by_themselves(_: Conn) -> datetime | None:
    """Documents that are read from nowhere have no such age."""
    return None


@dataclass
class Context:
    """One service at work. `pool` exists once the database was reached; before, everything is `NotReady`."""

    service: str
    settings: ServiceSettings
    clock: Clock
    alerts: Alerts
    tables: Tables
    verifier: TokenVerifier
    record: Callable[[UnitOfWork, Event], None]
    """Where facts go that are not part of a command: the outbox, or the log itself in the audit service."""
    first_sight: FirstSight
    """Asks whom a subject is that no document here names: the provisioner, or its database in itself."""
    answers: Answers = field(default_factory=Answers, repr=False)
    """What that has answered, until the document is here."""
    nudge: Callable[..., None] = lambda *_ids: None
    """Tells the background tasks of this process that rows have changed, those with these ids where they can
    use them; for `UnitOfWork.after_commit`."""
    wake_relay: Hook = lambda: None
    """Tells the relay of this process that there is something to send."""
    read_at: Callable[[Conn], Awaitable[datetime | None]] = _true_by_themselves
    """Since when this service's documents are known to say what is true elsewhere; for their markers."""
    republish: Hook = lambda: None
    """Has every document of this service published again, in the background."""
    _pool: Pool | None = field(default=None, repr=False)

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            raise NotReady(
                "the database has not been reached yet; try again in a few seconds", code="starting"
            )
        return self._pool

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """A transaction for one command or several; see shared/database/unit_of_work.py."""
        return unit_of_work(self.pool, self.alerts, wake_relay=self.wake_relay)

    @property
    def has_pool(self) -> bool:
        return self._pool is not None

    def set_pool(self, pool: Pool | None) -> None:
        self._pool = pool

    @property
    def policy(self) -> Policy:
        return self.tables.policy

    @property
    def actor(self) -> Actor:
        """The service itself, for what nobody in particular did."""
        return Actor.service(self.service)

    def origin(self, received: Received[Any] | None = None, *, why: str = "") -> Origin:
        """Of what the service does now, of itself or because of an event."""
        return Origin(self.actor, self.clock.now(), received.id if received else None, why)
