"""What the engine's visits and polls work with, and how they save: fenced, and on the one road."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from services.provisioner.domain.assignments import Assignment, Op
from services.provisioner.domain.timing import Timing
from services.provisioner.driver import Driver
from services.provisioner.lease import Lease
from services.provisioner.reconcile.reads import SharedDirectory, SharedReads
from services.provisioner.reconcile.set_digests import SetDigests
from services.provisioner.reconcile.unread import Unread
from services.provisioner.store import assignments
from shared.context import Context
from shared.contracts.change import Change, Origin
from shared.database.unit_of_work import UnitOfWork

Outcome = Callable[[Assignment], Assignment]
"""What became of a call or a reading, as the assignment after it; one of domain/call_outcomes.py."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """Made once per engine. `jitter` gives a number in 0..1 each time."""

    context: Context
    driver: Driver
    reads: SharedReads
    directory: SharedDirectory
    lease: Lease
    timing: Timing
    jitter: Callable[[], float]
    digests: SetDigests
    unread: Unread = field(default_factory=Unread)
    clock_problem: Callable[[], str | None] = lambda: None
    """Why nothing may begin by our clock, as AWS's last answer shows; None while it may."""

    @property
    def now(self) -> datetime:
        return self.context.clock.now()

    @property
    def origin(self) -> Origin:
        return self.context.origin()

    @asynccontextmanager
    async def fenced(self, ids: Collection[int]) -> AsyncIterator[tuple[UnitOfWork, list[Assignment]]]:
        """A unit of work that commits only while the lease is ours, and these assignments, locked.

        Every one of the engine's is one.
        """
        async with self.context.unit_of_work() as work:
            yield work, await assignments.lock_fenced(work.conn, ids, epoch=self.lease.epoch)

    async def save_outcome(self, assignment_id: int, op: Op | None, outcome: Outcome) -> None:
        await self.save_outcomes({assignment_id: (op, outcome)})

    async def save_outcomes(self, outcomes: Mapping[int, tuple[Op | None, Outcome]]) -> set[int]:
        """By assignment, unless the operation is not the same any more: somebody has looked after it then.

        Answers those without an operation afterwards.
        """
        over: set[int] = set()
        async with self.fenced(outcomes.keys()) as (work, locked):
            for before in locked:
                op, outcome = outcomes[before.id]
                if before.op != op:
                    continue
                after = outcome(before)
                await assignments.save(work, before, Change(after))
                if after.op is None:
                    over.add(before.id)
        return over
