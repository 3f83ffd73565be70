"""One call for all who ask the same, and never an answer that is older than the question it counts for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import pytest

from services.provisioner.driver import (
    AssignmentKey,
    AwsPrincipal,
    DriverError,
    DriverProblem,
    Priority,
    UserStatus,
)
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.calls import READS_AGAIN
from services.provisioner.reconcile import reads
from services.provisioner.reconcile.reads import ACCOUNTS_KEPT_FOR, KEPT_FOR, SharedDirectory, SharedReads
from shared.foundation.clock import ManualClock
from simulator.server import Simulator
from tests.support.aws import Turns, adapter, assignment_key, failure, finish, operations, simulated_aws
from tests.support.harness import NOW

LIST = "ListAccountAssignments"
S = timedelta(seconds=1)
ValueT = TypeVar("ValueT")


@dataclass
class Door(Turns):
    """A limiter that can be shut."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: int = 0
    """How many of the next are turned away, as by a lease that is lost."""

    async def __call__(self, priority: str, service: str) -> None:
        await super().__call__(priority, service)
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("no turn")
        self.waiting.set()
        await self.go.wait()


@dataclass
class World:
    aws: Simulator
    centre: IdentityCenter
    door: Door
    clock: ManualClock
    reads: SharedReads

    @property
    def lists(self) -> int:
        return operations(self.aws).count(LIST)

    async def make(self, key: AssignmentKey) -> None:
        await self.centre.create(key)
        finish(self.aws)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    door, clock = Door(), ManualClock(NOW)
    door.go.set()
    async with simulated_aws() as aws, adapter(aws, limiter=door) as centre:
        await centre.instance()
        reads = SharedReads(centre, clock.now)
        yield World(aws, centre, door, clock, reads)
        await reads.stop()


async def begun(asked: Awaitable[ValueT]) -> "asyncio.Future[ValueT]":
    """Asked, and as far as it gets by itself."""
    future = asyncio.ensure_future(asked)
    await asyncio.sleep(0.05)
    return future


def user(key: AssignmentKey) -> AwsPrincipal:
    return AwsPrincipal("USER", key.user_id)


async def test_all_who_ask_before_a_list_is_sent_share_it(world: World) -> None:
    key = assignment_key(world.aws)
    world.door.go.clear()
    asked = [await begun(world.reads.holders(key.account_id, key.set_arn)) for _ in range(3)]
    world.door.go.set()
    answers = await asyncio.gather(*asked)
    assert world.lists == 1
    assert answers[0] == answers[1] == answers[2]


async def test_who_asks_after_a_list_was_sent_gets_one_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was sent before the assignment was made: it must not answer for what came later."""
    key, held, go = assignment_key(world.aws), asyncio.Event(), asyncio.Event()
    sent = world.centre._calls._sent

    async def slow(*asked: object) -> object:
        answer = await sent(*asked)  # type: ignore[arg-type]
        if not held.is_set():
            held.set()
            await go.wait()
        return answer

    monkeypatch.setattr(world.centre._calls, "_sent", slow)
    first = await begun(world.reads.holders(key.account_id, key.set_arn))
    await held.wait()
    await world.make(key)
    second = await begun(world.reads.holders(key.account_id, key.set_arn))
    go.set()
    assert user(key) not in await first
    assert user(key) in await second


async def test_more_urgent_one_does_not_wait_for_the_turn_of_a_less_urgent_one(world: World) -> None:
    key = assignment_key(world.aws)
    world.door.go.clear()
    asked = [await begun(world.reads.holders(key.account_id, key.set_arn, priority="drift"))]
    asked.append(await begun(world.reads.holders(key.account_id, key.set_arn, priority="revoke")))
    world.door.go.set()
    await asyncio.gather(*asked)
    assert world.door.asked[-2:] == ["drift", "revoke"]


async def test_one_who_stops_waiting_takes_the_answer_from_nobody(world: World) -> None:
    key = assignment_key(world.aws)
    world.door.go.clear()
    gone, stays = [await begun(world.reads.holders(key.account_id, key.set_arn)) for _ in range(2)]
    gone.cancel()
    world.door.go.set()
    assert user(key) not in await stays


async def test_read_back_is_never_answered_by_what_is_kept(world: World) -> None:
    key = assignment_key(world.aws)
    await world.reads.holders(key.account_id, key.set_arn)
    await world.make(key)
    assert user(key) in await world.reads.holders(key.account_id, key.set_arn)


async def test_look_before_an_operation_is_answered_by_what_calls_for_it(world: World) -> None:
    key = assignment_key(world.aws)
    where = key.account_id, key.set_arn
    assert user(key) not in await world.reads.holders(*where)
    await world.reads.holders_before("grant", *where, key.user_id, wanted_since=NOW)
    assert world.lists == 1, "not there: it is to be created"
    await world.reads.holders_before("revoke", *where, key.user_id, wanted_since=NOW)
    assert world.lists == 2, "that it was not there is no reason to delete nothing"
    await world.make(key)
    assert user(key) in await world.reads.holders(*where)
    await world.reads.holders_before("revoke", *where, key.user_id, wanted_since=NOW)
    assert world.lists == 3, "there: it is to be deleted"
    await world.reads.holders_before("grant", *where, key.user_id, wanted_since=NOW)
    assert world.lists == 4, "that it was there must not be called granted"


@pytest.mark.parametrize(("after", "lists"), [(KEPT_FOR - S, 1), (KEPT_FOR, 2)])
async def test_what_is_kept_is_too_old_after_a_while(world: World, after: timedelta, lists: int) -> None:
    key = assignment_key(world.aws)
    await world.reads.holders(key.account_id, key.set_arn)
    world.clock.advance(after)
    await world.reads.holders_before("grant", key.account_id, key.set_arn, key.user_id, wanted_since=NOW)
    assert world.lists == lists


@pytest.mark.parametrize("operation", ["grant", "revoke"])
async def test_what_was_read_before_the_operation_was_wanted_is_no_look_before_it(
    world: World, operation: Priority
) -> None:
    """Somebody else may have made it since: what was there before a grant is not JIT's."""
    key = assignment_key(world.aws)
    if operation == "revoke":
        await world.make(key)
    await world.reads.holders(key.account_id, key.set_arn)
    since = NOW + timedelta(milliseconds=1)
    world.clock.advance(S)
    await world.reads.holders_before(operation, key.account_id, key.set_arn, key.user_id, wanted_since=since)
    assert world.lists == 2


async def test_what_was_asked_for_before_is_kept_as_of_then_however_late_its_answer_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = assignment_key(world.aws)
    sent = world.centre._calls._sent

    async def slow(*asked: object) -> object:
        answer = await sent(*asked)  # type: ignore[arg-type]
        world.clock.advance(2 * S)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(world.centre._calls, "_sent", slow)
        await world.reads.holders(key.account_id, key.set_arn)
    since = NOW + S
    await world.reads.holders_before("grant", key.account_id, key.set_arn, key.user_id, wanted_since=since)
    assert world.lists == 2


async def test_list_that_could_not_be_sent_is_asked_for_again(world: World) -> None:
    key = assignment_key(world.aws)
    where = key.account_id, key.set_arn
    world.door.refusals = 1
    with pytest.raises(RuntimeError, match="no turn"):
        await world.reads.holders(*where)
    assert user(key) not in await world.reads.holders(*where)


async def test_who_takes_access_away_waits_for_no_company(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_GATHERED_S", 60)
    key = assignment_key(world.aws)
    asked = world.reads.holders(key.account_id, key.set_arn, priority="revoke")
    assert user(key) not in await asyncio.wait_for(asked, 10)


# users and accounts


def directory(world: World, *, users: int = 0, accounts: int = 0) -> SharedDirectory:
    return SharedDirectory(world.centre, world.clock.now, users=lambda: users, accounts=lambda: accounts)


async def test_all_who_ask_for_a_user_together_share_a_call(world: World) -> None:
    ann = world.aws.directory.find_user("ann").id
    asked = directory(world, users=300)
    assert await asyncio.gather(*(asked.user(ann) for _ in range(5))) == [UserStatus(enabled=True)] * 5
    assert operations(world.aws).count("DescribeUser") == 1


async def test_many_are_read_from_lists_where_those_are_fewer_calls(world: World) -> None:
    people = sorted(world.aws.directory.users)[:20]
    accounts = sorted(world.aws.directory.accounts)[:20]
    asked = directory(world, users=len(world.aws.directory.users), accounts=len(world.aws.directory.accounts))
    shown = await asyncio.gather(*(asked.user(one) for one in [*people, "nobody"]))
    states = await asyncio.gather(*(asked.account_state(one) for one in [*accounts, "000000000000"]))
    assert [one and one.enabled for one in shown] == [
        *(world.aws.directory.users[one].enabled for one in people), None,
    ]  # fmt: skip
    assert states == [*(world.aws.directory.accounts[one].state for one in accounts), None]
    made = operations(world.aws)
    assert (made.count("ListUsers"), made.count("ListAccounts")) == (3, 6)
    assert not {"DescribeUser", "DescribeAccount"} & set(made)


async def test_first_of_many_is_answered_with_those_who_come_a_moment_later(world: World) -> None:
    first, *others = sorted(world.aws.directory.users)[:20]
    asked = directory(world, users=len(world.aws.directory.users))
    waiting = asyncio.ensure_future(asked.user(first))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(waiting, *(asked.user(one) for one in others))
    assert "DescribeUser" not in operations(world.aws)


async def test_few_are_asked_for_one_by_one(world: World) -> None:
    asked = directory(world, users=300)
    await asyncio.gather(*(asked.user(one) for one in sorted(world.aws.directory.users)[:2]))
    assert "ListUsers" not in operations(world.aws)


async def test_user_who_was_disabled_since_is_known_soon(world: World) -> None:
    ann, asked = world.aws.directory.find_user("ann").id, directory(world)
    await asked.user(ann)
    world.aws.edit(action="disable_user", user="ann")
    world.clock.advance(60 * S)
    assert await asked.user(ann) == UserStatus(enabled=False)


async def test_user_is_asked_for_anew_when_the_clock_was_set_back(world: World) -> None:
    ann, asked = world.aws.directory.find_user("ann").id, directory(world)
    await asked.user(ann)
    world.aws.edit(action="disable_user", user="ann")
    world.clock.step(-3600 * S)
    assert await asked.user(ann) == UserStatus(enabled=False)


async def test_state_of_an_account_is_kept_as_long_as_the_inventory_is(world: World) -> None:
    account, asked = world.aws.directory.find_account("orders-prod").id, directory(world)
    await asked.account_state(account)
    world.clock.advance(ACCOUNTS_KEPT_FOR - S)
    await asked.account_state(account)
    assert operations(world.aws).count("DescribeAccount") == 1


async def test_error_reaches_who_asked_and_nobody_else(world: World) -> None:
    world.aws.fault(operation="DescribeUser", kind="error", code="AccessDeniedException", user="ann")
    ann, bob = (world.aws.directory.find_user(name).id for name in ("ann", "bob"))
    asked = directory(world)
    refused, answered = await asyncio.gather(asked.user(ann), asked.user(bob), return_exceptions=True)
    assert isinstance(refused, DriverError)
    assert answered == UserStatus(enabled=True)


# throttles


async def test_read_that_is_throttled_takes_a_further_turn_and_says_so(world: World) -> None:
    key = assignment_key(world.aws)
    world.aws.fault(operation=LIST, kind="error", times=2)
    world.door.asked.clear()
    await world.centre.holders(key.account_id, key.set_arn, priority="revoke")
    assert world.door.asked == ["revoke"] * 3
    assert world.door.told == ["sso-admin"] * 2


async def test_read_that_is_throttled_again_and_again_fails(world: World) -> None:
    key = assignment_key(world.aws)
    world.aws.fault(operation=LIST, kind="error")
    error = await failure(world.centre.holders(key.account_id, key.set_arn))
    assert error.problem is DriverProblem.THROTTLED
    assert world.lists == 1 + READS_AGAIN[DriverProblem.THROTTLED]


async def test_call_that_changes_something_is_sent_once_however_it_is_refused(world: World) -> None:
    world.aws.fault(operation="CreateAccountAssignment", kind="error", times=1)
    await failure(world.centre.create(assignment_key(world.aws)))
    assert operations(world.aws).count("CreateAccountAssignment") == 1
    assert world.door.told == ["sso-admin"]


async def test_full_slots_are_no_reason_to_call_less_often(world: World) -> None:
    message = "There are too many requests in process"
    world.aws.fault(operation="CreateAccountAssignment", kind="error", message=message, times=1)
    error = await failure(world.centre.create(assignment_key(world.aws)))
    assert error.problem is DriverProblem.SLOTS_FULL
    assert world.door.told == []
