"""Killed after every step, once and twice: whatever the moment, no access is left and no fact is false.

A fuse burns at every place where the process may die to any effect: before and after each call to AWS,
before and after each commit of something written. (Dying inside a transaction is dying before its commit.)
After each death everything in memory is thrown away and a new engine begins from the database.
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.__main__ import Replica
from shared.contracts import access
from shared.contracts import ticket as tk
from shared.contracts.windows import Window
from shared.database.pool import Pool
from shared.messaging.envelope import Received
from tests.support.provisioner_lab import Lab, Premises, laboratory
from tests.support.sampling import some

pytestmark = pytest.mark.more
MUTATING = ("create", "delete")
CALLS = (
    *MUTATING,
    "holders",
    "follow",
    "newest",
    "outstanding",
    "user",
    "account_state",
    "every_user",
    "every_account_state",
    "set_digest",
)
SETTLED = timedelta(seconds=40)
"""From the end of a window to the disappearance, with operations of 4 s and two deaths."""


class Killed(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches a kill."""


class Fuse:
    """Counts the places passed; kills at each of the given ones."""

    def __init__(self, *kill_at: int) -> None:
        self.kill_at = set(kill_at)
        self.passed = 0
        self.places: list[str] = []
        self.burnt: list[str] = []

    def burn(self, place: str) -> None:
        self.passed += 1
        self.places.append(place)
        if self.passed in self.kill_at:
            self.burnt.append(place)
            raise Killed(place)


class FusedTransaction:
    def __init__(self, inner: Any, conn: "FusedConnection", fuse: Fuse) -> None:
        self._inner = inner
        self._conn = conn
        self._fuse = fuse

    async def __aenter__(self) -> None:
        await self._inner.__aenter__()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        wrote = kind is None and self._conn.wrote
        if wrote:
            try:
                self._fuse.burn("before commit")
            except Killed as killed:
                await self._inner.__aexit__(Killed, killed, None)
                raise
        await self._inner.__aexit__(kind, error, trace)
        if wrote:
            self._fuse.burn("after commit")


class FusedConnection:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse
        self.wrote = False

    def transaction(self) -> FusedTransaction:
        return FusedTransaction(self._inner.transaction(), self, self._fuse)

    async def execute(self, query: str, *args: Any) -> Any:
        self.wrote = True
        return await self._inner.execute(query, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class FusedPool:
    """A real pool whose transactions pass the fuse."""

    def __init__(self, inner: Pool, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[FusedConnection]:
        async with self._inner.acquire() as conn:
            yield FusedConnection(conn, self._fuse)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class FusedAws:
    """The real adapter, with the fuse before and after each call."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in CALLS:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn(f"before {name}")
            answer = await method(*args, **kwargs)
            self._fuse.burn(f"after {name}")
            return answer

        return call


@asynccontextmanager
async def mortal(lab: Lab, shared: Premises, fuse: Fuse) -> AsyncIterator[None]:
    """Put the fuse into the lab's replica, and into the transactions of its consumers."""
    pool = lab.context.pool
    centre: Any = FusedAws(shared.centre, fuse)
    lab.context.set_pool(FusedPool(pool, fuse))  # type: ignore[arg-type]
    lab.current = reborn(lab, shared, centre)
    try:
        yield
    finally:
        await lab.current.engine.stop()
        lab.context.set_pool(pool)


def reborn(lab: Lab, shared: Premises, centre: Any) -> Replica:
    """A process that starts anew under its name: nothing remembered but the database."""
    replica = lab.replica("one", centre=centre)
    pool: Any = lab.context.pool
    replica.lease._pool = lambda: pool._inner  # its renewals are in every step, and are no step of a grant
    return replica


async def deliver(lab: Lab, shared: Premises, *events: Received[Any]) -> None:
    """As the broker does: what was not committed when the process died comes again."""
    for event in events:
        handled = False
        while not handled:
            try:
                await lab.take(event)
                handled = True
            except Killed:
                await die_and_rise(lab, shared)


async def die_and_rise(lab: Lab, shared: Premises) -> None:
    centre = lab.current.engine.parts.driver
    await lab.current.engine.stop()
    lab.current = reborn(lab, shared, centre)
    lab.clock.advance(timedelta(seconds=0.5))


async def live(lab: Lab, shared: Premises, *, seconds: float) -> None:
    """Run for so long, dying and rising where the fuse says so."""
    ends = lab.now + timedelta(seconds=seconds)
    while lab.now < ends:
        try:
            await lab.run((ends - lab.now).total_seconds())
        except Killed:
            await die_and_rise(lab, shared)


async def judged(lab: Lab, *, until: dict[str, Any]) -> None:
    """The final truth, from the simulator: nothing outside its window, nothing left."""
    for user, window in until.items():
        spans = [span for span in lab.presence() if span[0].startswith(lab.user(user))]
        assert spans, f"{user} never had what was approved"
        for _, began, ended in spans:
            assert began >= window.starts_at, f"{user} had access before its start"
            assert ended is not None, f"{user} still has access"
            assert ended <= window.ends_at + SETTLED, f"{user} had access {ended - window.ends_at} too long"
    for user in until:
        assert not lab.holds(user)


async def told(lab: Lab, expected: list[list[str]]) -> None:
    """Every fact once, and one of the expected lives."""
    for ticket_id in {
        row["ticket_id"] for row in await lab.context.pool.fetch("SELECT ticket_id FROM claim")
    }:
        story = [
            row["type"].split(".")[1]
            for row in await lab.context.pool.fetch(
                "SELECT type FROM outbox WHERE key = $1 ORDER BY id", ticket_id
            )
        ]
        assert story in expected, f"said {story}"
    assert not await lab.context.pool.fetchval("SELECT count(*) FROM assignment WHERE op_kind IS NOT NULL")


LIFE = ["scheduled", "granting", "granted", "revoke_due", "revoked"]
UNGRANTED = ["scheduled", "granting", "revoke_due", "failed"]
RELEASED = ["scheduled", "granting", "granted", "revoke_due", "released"]


async def single_life(lab: Lab, shared: Premises, fuse: Fuse) -> None:
    ticket = await lab.approve(lab.ticket(seconds=20))
    async with mortal(lab, shared, fuse):
        await live(lab, shared, seconds=90)
    await judged(lab, until={"ann": ticket.targets[0].window})
    await told(lab, [LIFE])


def each_place(*, at_least: int) -> Iterator[Fuse]:
    """A fuse for each place, until two lives ended before theirs burnt.

    The number of places is not the same each time: replies of AWS and of the database arrive in any order.
    """
    unburnt = 0
    for kill_at in some(range(1, 500)):
        fuse = Fuse(kill_at)
        yield fuse
        unburnt += not fuse.burnt
        if unburnt == 2:
            assert kill_at > at_least, "the fuse is not where the engine passes: look at Fuse and FusedPool"
            return
    raise AssertionError("a life with more than 500 places: it does not end")


async def test_crash_once_at_every_step_of_a_grant_leaves_nothing_behind(shared_premises: Premises) -> None:
    for fuse in each_place(at_least=40):
        async with laboratory(shared_premises) as lab:
            await single_life(lab, shared_premises, fuse)


async def test_crash_twice_in_a_row_leaves_nothing_behind(shared_premises: Premises) -> None:
    chosen = random.Random(20260302)
    for first in some(chosen.sample(range(1, 58), 12)):
        async with laboratory(shared_premises) as lab:
            await single_life(lab, shared_premises, Fuse(first, first + chosen.randint(1, 6)))


@pytest.mark.parametrize("fault", ["fail_async", "reset_after_accept"])
@pytest.mark.parametrize("operation", ["CreateAccountAssignment", "DeleteAccountAssignment"])
async def test_crash_around_a_faulty_operation_leaves_nothing_behind(
    shared_premises: Premises, operation: str, fault: str
) -> None:
    chosen = random.Random(f"{operation}/{fault}")
    for kill_at in some(chosen.sample(range(5, 45), 4)):
        async with laboratory(shared_premises) as lab:
            lab.aws.change_settings(list_lag_seconds=4)
            lab.aws.fault(operation=operation, kind=fault, partial=fault == "fail_async", times=1)
            ticket = await lab.approve(lab.ticket(seconds=40))
            async with mortal(lab, shared_premises, Fuse(kill_at)):
                await live(lab, shared_premises, seconds=150)
            await judged(lab, until={"ann": ticket.targets[0].window})
            await told(lab, [LIFE])


async def test_crash_while_two_claims_overlap_never_takes_the_access_of_the_longer(
    shared_premises: Premises,
) -> None:
    chosen = random.Random("overlap")
    for kill_at in some(chosen.sample(range(1, 60), 8)):
        async with laboratory(shared_premises) as lab:
            await lab.approve(lab.ticket(seconds=15))
            longer = await lab.approve(lab.ticket(seconds=45))
            async with mortal(lab, shared_premises, Fuse(kill_at)):
                await live(lab, shared_premises, seconds=130)
            await judged(lab, until={"ann": longer.targets[0].window})
            await told(lab, [LIFE, RELEASED])
            assert len(lab.presence()) == 1, "the access of the longer claim was interrupted"


async def test_crash_with_a_creation_longer_than_its_window_leaves_nothing_behind(
    shared_premises: Premises,
) -> None:
    chosen = random.Random("long creation")
    for kill_at in some(chosen.sample(range(1, 40), 5)):
        async with laboratory(shared_premises) as lab:
            lab.aws.fault(operation="CreateAccountAssignment", kind="duration", seconds=30, times=1)
            ticket = await lab.approve(lab.ticket(seconds=10))
            async with mortal(lab, shared_premises, Fuse(kill_at)):
                await live(lab, shared_premises, seconds=120)
            await judged(lab, until={"ann": ticket.targets[0].window})
            await told(lab, [UNGRANTED])


# extensions


EXTENDED = ["scheduled", "granting", "granted", "extended", "revoke_due", "revoked"]
LATE = [
    ["scheduled", "granting", "granted", "extension_failed", "revoke_due", "revoked"],
    ["scheduled", "granting", "granted", "revoke_due", "extension_failed", "revoked"],
    ["scheduled", "granting", "granted", "revoke_due", "revoked", "extension_failed"],
]


async def extended_life(lab: Lab, shared: Premises, fuse: Fuse, *, before_the_end: float) -> None:
    """A grant of twenty seconds whose extension arrives so long before its end; mortal from then on."""
    ticket = await lab.approve(lab.ticket(seconds=20))
    window = ticket.targets[0].window
    assert window is not None
    await lab.run(20 - before_the_end)
    later = lab.extended(ticket, seconds=20)
    async with mortal(lab, shared, fuse):
        await deliver(lab, shared, lab.extension_witness(later), lab.extension_approval(later))
        await live(lab, shared, seconds=100)
    await outlived_nothing(lab, ticket, window)


async def outlived_nothing(lab: Lab, ticket: tk.Ticket, window: Window) -> None:
    """Gone in time after the end that was published last, and there until it, if that was the later one."""
    moved = await lab.said(access.AccessExtended)
    assert all(fact.at < fact.ended_before for fact in moved), "what was over was revived"
    last = window.model_copy(update={"ends_at": moved[-1].ends_at}) if moved else window
    await judged(lab, until={"ann": last})
    [(_, _, gone)] = lab.presence()
    assert gone is not None
    assert gone >= last.ends_at, "access was taken away before the end that was published"
    await told(lab, [EXTENDED] if moved else LATE)
    stored = await lab.context.pool.fetchval("SELECT ends_at FROM claim WHERE ticket_id = $1", ticket.id)
    assert stored == last.ends_at


async def test_crash_at_every_step_of_an_extension_never_outlives_the_end_last_published(
    shared_premises: Premises,
) -> None:
    for fuse in each_place(at_least=20):
        async with laboratory(shared_premises) as lab:
            await extended_life(lab, shared_premises, fuse, before_the_end=8)


@pytest.mark.parametrize("before_the_end", [0.9, 0.4, 0])
async def test_crash_of_an_extension_that_races_the_end_never_outlives_the_end_last_published(
    shared_premises: Premises, before_the_end: float
) -> None:
    """A death costs half a second: some come in time, some do not, and each says which."""
    for kill_at in some(range(1, 9)):
        fuse = Fuse(kill_at, kill_at + 1)
        async with laboratory(shared_premises) as lab:
            await extended_life(lab, shared_premises, fuse, before_the_end=before_the_end)
        assert fuse.burnt
