"""Wiring of the provisioner: the only place that names its concrete classes."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from services.provisioner.background import Expiry, watch_clocks
from services.provisioner.commands.inventory import directory_read_at, preload
from services.provisioner.consumers import subscriptions
from services.provisioner.domain.claims import SERVICE
from services.provisioner.http import bindings, directory, grants, me, pause
from services.provisioner.http import inventory as inventory_routes
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.dates import AwsClock
from services.provisioner.identity_center.types import IdentityCenterError, Limiter
from services.provisioner.inventory.sync import InventorySync
from services.provisioner.lease import Lease
from services.provisioner.limits import Gate, Slots, TokenBucket
from services.provisioner.reconcile.engine import Engine
from services.provisioner.reconcile.parts import EngineParts
from services.provisioner.reconcile.reads import SharedDirectory, SharedReads
from services.provisioner.reconcile.set_digests import SetDigests
from services.provisioner.settings import ProvisionerSettings
from services.provisioner.store import retention
from services.provisioner.store.lease import LeaseLost
from shared.context import Context
from shared.contracts.documents import Account, User
from shared.foundation.environment import load
from shared.runtime.service import Parts, Process, Service, Task
from shared.runtime.serving import serve

IdentityCenterFactory = Callable[[ProvisionerSettings, Limiter], IdentityCenter]


@dataclass(frozen=True)
class Replica:
    """Everything of one process that works beside its requests."""

    identity_center: IdentityCenter
    lease: Lease
    engine: Engine
    expiry: Expiry
    inventory: InventorySync
    aws_clock: AwsClock

    def nudge(self, *assignment_ids: int) -> None:
        """Claims have changed: of these assignments, or of any."""
        self.expiry.nudge()
        self.engine.nudge(*assignment_ids)

    def tasks(self, context: Context) -> list[Task]:
        return [
            ("lease", self.lease.run),
            ("engine", self.engine.run),
            ("expiry", self.expiry.run),
            ("inventory", lambda: self._keep_inventory(context)),
            ("aws_clock", lambda: watch_clocks(context, lambda: self.aws_clock.last_problem)),
        ]

    async def _keep_inventory(self, context: Context) -> None:
        """Only the lease's holder reads; one that lost it in the middle waits for its turn.

        A standby makes its clients too: that takes part of a second, which a takeover has not.
        """
        await preload(context)
        with contextlib.suppress(IdentityCenterError):  # no credentials: the first call says so, loudly
            await self.identity_center.open()
        while True:
            try:
                await self.inventory.run(context)
            except LeaseLost:
                await asyncio.sleep(1)


def connect(settings: ProvisionerSettings, limiter: Limiter) -> IdentityCenter:
    """AWS itself, with the credentials of the process."""
    return IdentityCenter(
        region=settings.aws_region,
        endpoint=settings.aws_endpoint,
        instance_arn=settings.sso_instance_arn,
        limiter=limiter,
        change_timeout_s=settings.change_timeout_s,
    )


def assemble(
    context: Context,
    settings: ProvisionerSettings,
    *,
    identity_center: IdentityCenterFactory = connect,
    jitter: Callable[[], float] = random.random,
) -> Replica:
    def on_taken() -> None:
        inventory.wanted.set()
        engine.nudge()

    lease = Lease(
        pool=lambda: context.pool,
        clock=context.clock,
        holder=settings.replica_name,
        ttl=timedelta(seconds=settings.lease_ttl_s),
        change_timeout=timedelta(seconds=settings.change_timeout_s),
        on_taken=on_taken,
    )
    buckets = {service: TokenBucket(rate) for service, rate in settings.rates.items()}
    centre = identity_center(settings, Gate(buckets, lease.check))
    aws_clock = AwsClock(context.clock)
    centre.tell_dates(aws_clock.note)
    inventory = InventorySync(
        centre,
        interval=timedelta(seconds=settings.inventory_interval_s),
        guard=settings.guard,
        may_run=lambda: lease.held,
    )
    now, known = context.clock.now, context.policy.known
    parts = EngineParts(
        context=context,
        driver=centre,
        reads=SharedReads(centre, now),
        directory=SharedDirectory(
            centre, now, users=lambda: len(known().all(User)), accounts=lambda: len(known().all(Account))
        ),
        lease=lease,
        timing=settings.timing,
        jitter=jitter,
        digests=SetDigests(centre.set_digest),
        clock_problem=lambda: aws_clock.problem,
    )
    engine = Engine(parts, Slots(settings.slots, settings.grant_slots), concurrency=settings.concurrency)
    expiry = Expiry(context, objectives=settings.objectives)
    return Replica(centre, lease, engine, expiry, inventory, aws_clock)


def build(
    settings: ProvisionerSettings | None = None,
    *,
    process: Process | None = None,
    identity_center: IdentityCenterFactory = connect,
) -> Service:
    settings = settings or load(ProvisionerSettings)
    made: list[Replica] = []

    def replica(context: Context) -> Replica:
        if not made:
            made.append(assemble(context, settings, identity_center=identity_center))
            context.nudge = made[0].nudge
        return made[0]

    service = Service(
        SERVICE,
        settings,
        Parts(
            routers=lambda context: [
                grants.router(context, replica(context).engine.pace),
                pause.router(context),
                inventory_routes.router(context, replica(context).inventory, settings.guard),
                me.router(context),
                directory.router(context),
                bindings.router(context),
            ],
            first_sight=bindings.recognition,
            subscriptions=subscriptions,
            background=lambda context: replica(context).tasks(context),
            retention=retention.rules(keep=settings.keep),
            linger_s=0.1,  # what it says has happened in AWS already
            closing=_closing(made),
        ),
        process=process,
    )
    service.context.read_at = partial(directory_read_at, guard=settings.guard)
    return service


def _closing(made: list[Replica]) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        for replica in made:
            await replica.identity_center.close()

    return close


if __name__ == "__main__":
    serve(build())
