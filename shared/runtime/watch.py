"""What has no event of its own, looked at every few seconds: backlog, lag, age of the tables, a blocked loop.

Started by shared/runtime/service.py; ends up in metrics and operations alerts and decides nothing.
"""

import asyncio
from datetime import datetime, timedelta

from shared.context import Context
from shared.messaging import relay
from shared.messaging.consumer import Consumer
from shared.messaging.relay import Relay
from shared.observability import metrics

EVERY_S = 5.0
STUCK_AFTER = timedelta(seconds=30)
UNREADY_AFTER = timedelta(seconds=60)
"""Tables are read anew at every start and after a reconnection; one that stays so decides nothing."""


class Watch:
    """One per service. `tables` is whether this service, not its process, answers for the documents."""

    def __init__(self, context: Context, sender: Relay, consumer: Consumer, *, tables: bool) -> None:
        self._context = context
        self._name = context.service
        self._relay = sender
        self._consumer = consumer
        self._tables = tables
        self._head: int | None = None
        self._unready_since: datetime | None = None
        self._reported: set[str] = set()

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            await asyncio.sleep(EVERY_S)
            metrics.LOOP_LAG.labels(self._name).set(max(0.0, clock() - started - EVERY_S))
            await self.look()

    async def look(self) -> None:
        """Once over everything."""
        self._look_at_consumer()
        policy = self._context.policy
        metrics.TABLES_READY.labels(self._name).set(int(policy.ready))
        metrics.TABLES_AGE.labels(self._name).set(policy.age.total_seconds())
        if self._tables:
            await self._look_at_tables()
        await self._look_at_outbox()

    def _look_at_consumer(self) -> None:
        for topic, lag in (self._consumer.lag() or {}).items():
            metrics.CONSUMER_LAG.labels(self._name, topic).set(lag)

    async def _look_at_outbox(self) -> None:
        async with self._context.pool.acquire() as conn:
            waiting, age = await relay.backlog(conn, now=self._context.clock.now())
            head = await relay.head(conn)
        metrics.OUTBOX_UNSENT.labels(self._name).set(waiting)
        metrics.OUTBOX_OLDEST.labels(self._name).set(age.total_seconds())
        # Old rows wait again while a replay is sent; only a head that does not move is stuck.
        stuck = age > STUCK_AFTER and head == self._head
        self._head = head
        await self._report(
            "relay_stuck",
            "events are not leaving the outbox",
            f"{waiting} waiting, the oldest for {int(age.total_seconds())} s; "
            f"the relay is {self._relay.state}",
            stands=stuck,
        )

    async def _look_at_tables(self) -> None:
        """Records nobody could take over, documents the policy refuses, and a copy that is out of date."""
        tables, policy = self._context.tables, self._context.policy
        new = tables.left_out.keys() - self._reported
        self._reported = set(tables.left_out)
        for place in new:
            await self._context.alerts.raise_alert(
                key=f"tables/{place}",
                summary=f"{self._name}: a document was left out",
                detail=f"{place}: {tables.left_out[place]}",
                once=True,
            )
        refused = "; ".join(f"{key}: {why}" for key, why in sorted(policy.refused.items()))
        await self._report(
            "tables_refused", "the policy refuses documents; writes wait", refused, stands=bool(refused)
        )
        await self._look_at_readiness()
        await self._report(
            "tables_stale",
            "policy and inventory are out of date; writes wait",
            f"the oldest marker is {int(policy.age.total_seconds())} s old",
            stands=policy.ready and policy.stale,
        )
        await self._report(
            "directory_stale",
            "accounts and people are out of date; requests, votes and grants wait",
            f"AWS was last read {policy.directory_age} ago",
            stands=policy.ready and policy.directory_stale,
        )

    async def _look_at_readiness(self) -> None:
        now, policy = self._context.clock.now(), self._context.policy
        self._unready_since = None if policy.ready else self._unready_since or now
        await self._report(
            "tables_unready",
            "policy and inventory are not completely read; nothing is decided",
            f"not ready since {self._unready_since}, waits for {policy.waits_for}",
            stands=self._unready_since is not None and now - self._unready_since >= UNREADY_AFTER,
        )

    async def _report(self, key: str, what: str, detail: str, *, stands: bool) -> None:
        if stands:
            await self._context.alerts.raise_alert(key=key, summary=f"{self._name}: {what}", detail=detail)
        else:
            await self._context.alerts.clear(key)
