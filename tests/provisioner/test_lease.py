"""One active engine: who holds the lease, who takes over when, and what a woken old engine may still do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.provisioner.lease import Lease
from services.provisioner.store import assignments, schedule
from services.provisioner.store.lease import LeaseLost, read_lease, take_lease
from shared.contracts import access
from shared.database.pool import Pool, transaction
from tests.support.provisioner_lab import Lab, Premises

S = timedelta(seconds=1)
CREATE = "CreateAccountAssignment"


def lease(lab: Lab, holder: str) -> Lease:
    return Lease(
        pool=lambda: lab.context.pool, clock=lab.clock, holder=holder, ttl=4 * S, change_timeout=3 * S
    )


async def test_lease_is_held_by_one_and_renewed_without_a_new_epoch(lab: Lab) -> None:
    one, two = lease(lab, "one"), lease(lab, "two")
    assert await one.renew()
    assert not await two.renew()
    lab.clock.advance(S)
    assert await one.renew()
    assert one.epoch == 1


@pytest.mark.parametrize(("after", "taken"), [(3.9, False), (4.0, True), (4.1, True)])
async def test_standby_takes_over_when_the_holder_was_silent_for_as_long_as_it_lasts(
    lab: Lab, after: float, taken: bool
) -> None:
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    assert not await two.renew()
    lab.clock.advance(after * S)
    assert await two.renew() is taken


@pytest.mark.parametrize(
    ("after", "reads", "changes"),
    [(0.9, True, True), (1.0, True, False), (3.9, True, False), (4.0, False, False), (20, False, False)],
)
async def test_holder_changes_only_what_must_have_ended_before_its_deadline_and_reads_until_then(
    lab: Lab, after: float, reads: bool, changes: bool
) -> None:
    one = lease(lab, "one")
    await one.renew()
    lab.clock.advance(after * S)
    assert (one.held, one.may_change) == (reads, changes)
    assert (allows(one, changes=False), allows(one, changes=True)) == (reads, changes)


def allows(one: Lease, *, changes: bool) -> bool:
    try:
        one.check(changes=changes)
    except LeaseLost:
        return False
    return True


async def test_restart_under_the_same_name_takes_its_own_lease_at_once_and_once_only(lab: Lab) -> None:
    before, again = lease(lab, "one"), lease(lab, "one")
    await before.renew()
    assert await again.renew()
    assert again.epoch == 2
    assert not await before.renew(), "two of one name must not take it from each other for ever"
    assert not allows(before, changes=False)


@pytest.mark.parametrize("step", [-600, 600])
async def test_the_holder_sends_for_as_long_as_ever_whatever_the_clock_is_set_to(
    lab: Lab, step: float
) -> None:
    one = lease(lab, "one")
    await one.renew()
    lab.clock.step(step * S)
    lab.clock.advance(0.9 * S)
    assert one.may_change
    lab.clock.advance(0.1 * S)
    assert not one.may_change


async def test_a_clock_that_is_set_back_holds_nobody_up(lab: Lab) -> None:
    """The row's deadline is ten minutes away by then, and its holder is dead."""
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    lab.clock.step(-600 * S)
    assert not await two.renew()
    lab.clock.advance(3.9 * S)
    assert not await two.renew()
    lab.clock.advance(0.1 * S)
    assert await two.renew()


@pytest.mark.parametrize("watched", [True, False])
async def test_nobody_believes_a_clock_that_is_set_ahead(lab: Lab, watched: bool) -> None:
    """Fails where two may send at once: the holder is alive. Who starts believes no clock either."""
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    if watched:
        assert not await two.renew()
    lab.clock.step(600 * S)
    assert not await two.renew()
    assert one.held
    lab.clock.advance(4 * S)
    assert await two.renew()


async def test_a_standby_counts_from_the_last_renewal_that_it_saw(lab: Lab) -> None:
    one, two = lease(lab, "one"), lease(lab, "two")
    for _ in range(4):
        await one.renew()
        assert not await two.renew()
        lab.clock.advance(2 * S)
    lab.clock.step(-600 * S)
    assert not await two.renew()
    lab.clock.advance(2 * S)
    assert await two.renew()


@pytest.mark.parametrize(("seconds", "taken"), [(3.9, False), (4.1, True)])
async def test_an_engine_that_stood_still_changes_nothing_before_it_has_renewed(
    lab: Lab, seconds: float, taken: bool
) -> None:
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    await two.renew()
    lab.clock.advance(seconds * S)
    assert await two.renew() is taken
    assert not one.may_change
    assert await one.renew() is not taken


async def test_what_was_renewed_while_it_was_looked_at_is_not_taken(lab: Lab) -> None:
    one = lease(lab, "one")
    await one.renew()
    seen = await read_lease(lab.context.pool)  # type: ignore[arg-type]
    lab.clock.advance(S)
    await one.renew()
    async with transaction(lab.context.pool) as conn:
        assert await take_lease(conn, seen, holder="two", deadline=lab.now + 4 * S) is None


async def test_release_lets_the_standby_in_at_once(lab: Lab) -> None:
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    await one.release()
    assert await two.renew()
    assert not one.held


async def test_lease_shorter_than_a_change_is_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match="longer than a change"):
        Lease(pool=lambda: lab.context.pool, clock=lab.clock, holder="x", ttl=S, change_timeout=S)


async def run_out(lab: Lab) -> tuple[Lease, Lease]:
    """The holder, whose time is over, and a standby that may take over now."""
    one, two = lease(lab, "one"), lease(lab, "two")
    await one.renew()
    await two.renew()
    lab.clock.advance(4 * S)
    return one, two


async def taken_over(lab: Lab) -> tuple[Lease, Lease]:
    one, two = await run_out(lab)
    assert await two.renew()
    return one, two


async def fence(conn: Any, *, epoch: int) -> None:
    """As each transaction of the engine begins; here without an assignment."""
    assert await assignments.lock_fenced(conn, [], epoch=epoch) == []


async def test_fence_refuses_an_old_epoch(lab: Lab) -> None:
    await taken_over(lab)
    with pytest.raises(LeaseLost):
        async with transaction(lab.context.pool) as conn:
            await fence(conn, epoch=1)
    async with transaction(lab.context.pool) as conn:
        await fence(conn, epoch=2)


async def test_fence_keeps_a_takeover_out_until_the_transaction_ends(lab: Lab) -> None:
    _, two = await run_out(lab)
    async with transaction(lab.context.pool) as conn:
        await fence(conn, epoch=1)
        takeover = asyncio.ensure_future(two.renew())
        await asyncio.wait([takeover], timeout=0.1)
        assert not takeover.done()
    assert await takeover


async def test_renewal_waits_for_no_transaction_of_the_engine(lab: Lab) -> None:
    """Fails where both want the same lock: the lease would run out behind a slow write."""
    one = lease(lab, "one")
    await one.renew()
    async with transaction(lab.context.pool) as conn:
        await fence(conn, epoch=1)
        assert await asyncio.wait_for(one.renew(), 2)


# an engine that is frozen inside a transaction


@asynccontextmanager
async def own_pool(lab: Lab, **settings: str) -> AsyncIterator[Pool]:
    """Connections beside the lab's, which give up sooner."""
    dsn = lab.settings.database_url.get_secret_value()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=3, server_settings=settings)
    try:
        yield pool
    finally:
        pool.terminate()


async def test_other_connections_are_ended_when_they_stand_still_in_a_transaction_for_long(lab: Lab) -> None:
    assert await lab.context.pool.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"


async def test_a_producer_that_is_frozen_while_it_ends_claims_is_cut_off_as_soon_as_an_engine(
    lab: Lab,
) -> None:
    async with transaction(lab.context.pool) as conn:
        await schedule.lock_ended(conn, now=lab.now)
        assert await conn.fetchval("SHOW idle_in_transaction_session_timeout") == "3s"
    async with transaction(lab.context.pool) as conn:
        assert await conn.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"


async def test_standby_takes_over_from_an_engine_frozen_inside_a_transaction(lab: Lab) -> None:
    """Fails where the server lets a session hold the fence for longer than the lease lasts."""
    _, two = await run_out(lab)
    async with own_pool(lab) as pool:
        frozen = await pool.acquire()
        await frozen.execute("BEGIN")
        await fence(frozen, epoch=1)
        assert await asyncio.wait_for(two.renew(), 4), "as soon as a lease lasts, all in all"
        # asyncpg has a third way to say that the connection went away while it was being used.
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await frozen.execute("COMMIT")
    assert two.epoch == 2


async def test_lease_that_cannot_be_had_for_a_lock_is_tried_again(lab: Lab) -> None:
    one, frozen, pauses = lease(lab, "one"), await lab.context.pool.acquire(), 0
    await one.renew()

    async def pause(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            await frozen.execute("ROLLBACK")
        if pauses == 3:
            raise asyncio.CancelledError

    async with own_pool(lab, lock_timeout="100ms") as pool:
        two = Lease(
            pool=lambda: pool, clock=lab.clock, holder="one", ttl=4 * S, change_timeout=3 * S, sleep=pause
        )
        await frozen.execute("BEGIN")
        await fence(frozen, epoch=1)
        with pytest.raises(asyncio.CancelledError):
            await two.run()  # it has not run out: only the first attempt may take it, as its own
    await lab.context.pool.release(frozen)
    assert await epochs(lab) == 2


async def test_a_holder_frozen_in_its_renewal_holds_the_row_from_nobody(lab: Lab) -> None:
    """Fails where a renewal is committed by a second message, which a frozen process never sends."""
    one, two = await run_out(lab)
    statements: list[str] = []

    class Frozen:
        """Stands still as soon as the server has answered."""

        async def execute(self, query: str, *args: Any) -> str:
            async with lab.context.pool.acquire() as conn:
                statements.append(str(await conn.execute(query, *args)))
                assert not conn.is_in_transaction()
            raise asyncio.CancelledError

    class FrozenPool:
        @asynccontextmanager
        async def acquire(self) -> AsyncIterator[Frozen]:
            yield Frozen()

    one._pool = FrozenPool  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await one.renew()
    assert statements == ["UPDATE 1"]
    assert not await asyncio.wait_for(two.renew(), 1), "it was renewed"
    lab.clock.advance(4 * S)
    assert await asyncio.wait_for(two.renew(), 1)


async def epochs(lab: Lab) -> int:
    epoch: int = await lab.context.pool.fetchval("SELECT epoch FROM lease")
    return epoch


class Away:
    """A pool of a database that is not there."""

    def acquire(self) -> Any:
        raise ConnectionRefusedError


async def test_a_holder_without_a_database_changes_nothing_after_a_second_and_goes_on_with_its_return(
    lab: Lab,
) -> None:
    allowed: list[tuple[float, bool, bool]] = []
    pool: Any = lab.context.pool

    async def pause(seconds: float) -> None:
        nonlocal pool
        lab.clock.advance(seconds * S)
        at = lab.clock.elapsed().total_seconds()
        allowed.append((at, one.held, one.may_change))
        pool = lab.context.pool if at >= 10 else Away()
        if at > 10:
            raise asyncio.CancelledError

    one = Lease(
        pool=lambda: pool, clock=lab.clock, holder="one", ttl=4 * S, change_timeout=3 * S, sleep=pause
    )
    with pytest.raises(asyncio.CancelledError):
        await one.run()
    assert [at for at, _, changes in allowed if changes] == [0.5, 10.5]
    assert [at for at, held, _ in allowed if held] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 10.5]
    assert await epochs(lab) == 1, "nobody took it meanwhile"


async def test_a_standby_takes_over_in_the_moment_in_which_the_lease_has_run_out(lab: Lab) -> None:
    taken: list[float] = []

    async def pause(seconds: float) -> None:
        if taken:
            raise asyncio.CancelledError
        lab.clock.advance(min(seconds, 0.23) * S)  # timers are not on time to the millisecond

    two = Lease(
        pool=lambda: lab.context.pool, clock=lab.clock, holder="two", ttl=4 * S, change_timeout=3 * S,
        sleep=pause, on_taken=lambda: taken.append(lab.clock.elapsed().total_seconds()),
    )  # fmt: skip
    await lease(lab, "one").renew()
    with pytest.raises(asyncio.CancelledError):
        await two.run()
    assert taken == [4.0]


@pytest.mark.parametrize("first", ["renewal", "takeover"])
async def test_what_the_database_did_not_commit_is_not_believed(
    lab: Lab, shared_premises: Premises, first: str
) -> None:
    """Fails where the new deadline, or the epoch that another may get, counts before the commit."""
    one = lease(lab, "one")
    if first == "renewal":
        await one.renew()
        lab.clock.advance(4 * S)
    async with commits_refused(shared_premises):
        with pytest.raises(asyncpg.PostgresError):
            await one.renew()
        assert not one.held
    if first == "takeover":
        other = lease(lab, "two")
        assert await other.renew()
        assert not await one.renew()
        assert other.held


@asynccontextmanager
async def commits_refused(shared: Premises) -> AsyncIterator[None]:
    """Changes of the lease fail when they are committed, not before."""
    conn = await asyncpg.connect(urlsplit(shared.admin_dsn)._replace(path=urlsplit(shared.dsn).path).geturl())
    await conn.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'refused'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON lease DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    try:
        yield
    finally:
        await conn.execute("DROP TRIGGER refuse ON lease; DROP FUNCTION refuse()")
        await conn.close()


class Paused:
    """Holds a coroutine at one place until it is woken."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.woken = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.woken.wait()


def pause_before(lab: Lab, priority: str) -> Paused:
    """The engine of the lab stops right before its next call of that priority."""
    gate: Any = lab.current.identity_center._calls._limiter
    paused, bucket = Paused(), gate.buckets["sso-admin"]
    take = bucket.take

    async def slow(asked: str) -> None:
        await take(asked)
        if asked == priority and not paused.reached.is_set():
            await paused()

    bucket.take = slow
    return paused


async def sends(lab: Lab) -> int:
    return lab.calls(CREATE) + lab.calls("DeleteAccountAssignment")


async def test_old_engine_woken_after_its_lease_sends_and_writes_nothing(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=60))
    old = lab.current
    paused = pause_before(lab, "grant")
    step = asyncio.ensure_future(old.engine.step())
    await paused.reached.wait()
    lab.clock.advance(20 * S)
    new = lab.replica("two")
    lab.current = new
    await lab.run_until(access.AccessGranted)
    before = len(lab.aws.records.calls)
    paused.woken.set()
    await step
    assert len(lab.aws.records.calls) == before, "the old engine called AWS after its lease had run out"
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()
    assert await lab.story(ticket) == [
        "scheduled", "granting", "granted", "revoke_due(expired)", "revoked(expired)",
    ]  # fmt: skip


async def test_answer_that_reaches_the_old_engine_too_late_is_not_written_by_it(lab: Lab) -> None:
    """The creation was sent in time; its answer comes when another engine has long looked after it."""
    await lab.approve(lab.ticket(seconds=60))
    old, paused = lab.current, Paused()
    centre: Any = old.engine.parts.driver
    create = centre.create

    async def slow_answer(key: Any, **options: Any) -> Any:
        answer = await create(key, **options)
        await paused()
        return answer

    centre.create = slow_answer
    step = asyncio.ensure_future(old.engine.step())
    await paused.reached.wait()
    del centre.create
    lab.clock.advance(20 * S)
    lab.current = lab.replica("two")
    await lab.run_until(access.AccessGranted)
    row = await lab.row()
    paused.woken.set()
    await step
    assert await lab.row() == row
    await lab.run_until(access.AccessRevoked)
    assert lab.calls(CREATE) == 2, "nobody knows the first by its id: what it made is made anew"
    assert not lab.holds()


async def test_standby_calls_nothing(lab: Lab) -> None:
    standby = lab.replica("two")
    await lab.current.lease.renew()
    await lab.approve(lab.ticket())
    await standby.engine.step()
    assert not lab.aws.records.calls
    assert await sends(lab) == 0


async def test_takeover_continues_what_is_in_flight(lab: Lab) -> None:
    await lab.approve(lab.ticket("ann", "bob", seconds=120))
    await lab.run(1)
    lab.clock.advance(20 * S)
    lab.current = lab.replica("two")
    await lab.run(20)
    assert lab.holds("ann")
    assert lab.holds("bob")
    assert lab.calls(CREATE) == 2
