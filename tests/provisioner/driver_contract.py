"""What every driver keeps, since the engine's promises stand on it: run by test_driver_contract.py.

A second driver is another `Rig`: the driver on a stand-in whose truth can be read beside it.
"""

from collections.abc import Awaitable
from typing import Literal, Protocol

import pytest

from services.provisioner.driver import (
    AssignmentKey,
    AwsPrincipal,
    Driver,
    DriverError,
    DriverProblem,
    Request,
)

Trouble = Literal["throttled", "answer_lost", "never_arrived", "fails", "slots_full"]


class Rig(Protocol):
    """A driver, and what happens at the other end of it."""

    @property
    def driver(self) -> Driver: ...

    @property
    def priorities(self) -> list[str]:
        """What the rate limiter was asked for, in order."""
        ...

    def key(self, user: str = "ann", account: str = "orders-prod") -> AssignmentKey:
        """An assignment that nobody has."""
        ...

    def group_holds(self, key: AssignmentKey) -> str:
        """Give a group the same set on the same account; its id."""
        ...

    def nowhere(self) -> AssignmentKey:
        """An assignment on an account that does not exist."""
        ...

    def trouble(self, call: Literal["create", "delete"], what: Trouble) -> None:
        """What the next call of this kind meets."""
        ...

    def finish(self) -> None:
        """Let every request end."""
        ...

    def there(self, key: AssignmentKey) -> bool:
        """The truth, not the driver's word."""
        ...


class Stopped(Exception):
    pass


class DriverContract:
    """Each of these is relied upon by reconcile/; a comment says where it is not plain."""

    # what a success means

    async def test_create_makes_it_listed_once_the_request_has_succeeded(self, rig: Rig) -> None:
        key = rig.key()
        assert not await holds(rig, key)
        created = await rig.driver.create(key)
        rig.finish()
        ended = await rig.driver.follow("create", created.request_id)
        assert (ended.kind, ended.status, ended.key) == ("create", "SUCCEEDED", key)
        assert rig.there(key)
        assert await holds(rig, key)

    async def test_delete_makes_it_unlisted_once_the_request_has_succeeded(self, rig: Rig) -> None:
        key = await made(rig)
        deleted = await rig.driver.delete(key)
        rig.finish()
        ended = await rig.driver.follow("delete", deleted.request_id)
        assert (ended.kind, ended.status) == ("delete", "SUCCEEDED")
        assert not rig.there(key)
        assert not await holds(rig, key)

    async def test_create_of_what_is_there_leaves_it_there(self, rig: Rig) -> None:
        key = await made(rig)
        await rig.driver.create(key)
        rig.finish()
        assert rig.there(key)

    async def test_delete_of_nothing_is_not_found_or_succeeds(self, rig: Rig) -> None:
        key = rig.key()
        met = None
        try:
            await rig.driver.delete(key)
        except DriverError as error:
            met = (error.problem, error.ambiguous)
        assert met in {None, (DriverProblem.NOT_FOUND, False)}
        rig.finish()
        assert not rig.there(key)

    async def test_delete_leaves_the_same_access_of_others(self, rig: Rig) -> None:
        key, other = await made(rig), await made(rig, user="bob")
        await rig.driver.delete(key)
        rig.finish()
        assert (rig.there(key), rig.there(other)) == (False, True)

    async def test_holders_tells_people_from_groups(self, rig: Rig) -> None:
        key = await made(rig)
        group = rig.group_holds(key)
        found = await rig.driver.holders(key.account_id, key.set_arn)
        assert {AwsPrincipal("USER", key.user_id), AwsPrincipal("GROUP", group)} <= found

    async def test_holders_where_there_is_no_account_is_not_found(self, rig: Rig) -> None:
        key = rig.nowhere()
        error = await failure(rig.driver.holders(key.account_id, key.set_arn))
        assert error.problem is DriverProblem.NOT_FOUND

    # requests

    async def test_outstanding_lists_what_is_in_progress_and_only_its_kind(self, rig: Rig) -> None:
        created = await rig.driver.create(rig.key())
        assert [one.request_id for one in await rig.driver.outstanding("create")] == [created.request_id]
        assert await rig.driver.outstanding("delete") == []
        rig.finish()
        assert await rig.driver.outstanding("create") == []

    async def test_newest_lists_a_request_whatever_became_of_it_and_only_its_kind(self, rig: Rig) -> None:
        created = await rig.driver.create(rig.key())
        assert [one.status for one in await rig.driver.newest("create")] == ["IN_PROGRESS"]
        rig.finish()
        [ended] = await rig.driver.newest("create")
        assert (ended.request_id, ended.status) == (created.request_id, "SUCCEEDED")
        assert await rig.driver.newest("delete") == []

    async def test_newest_does_not_hide_a_failure(self, rig: Rig) -> None:
        rig.trouble("create", "fails")
        await rig.driver.create(rig.key())
        rig.finish()
        assert [one.status for one in await rig.driver.newest("create")] == ["FAILED"]

    async def test_holders_says_when_the_call_is_about_to_be_sent(self, rig: Rig) -> None:
        """reads.py lets everybody who asked before that share the answer."""
        key, turns = rig.key(), list[int]()

        async def confirm() -> None:
            turns.append(len(rig.priorities))

        await rig.driver.holders(key.account_id, key.set_arn)
        before = len(rig.priorities)
        await rig.driver.holders(key.account_id, key.set_arn, confirm=confirm)
        assert turns == [before + 1]

    async def test_follow_of_the_other_kind_or_of_nothing_is_not_found(self, rig: Rig) -> None:
        created = await rig.driver.create(rig.key())
        for call in (
            rig.driver.follow("delete", created.request_id),
            rig.driver.follow("create", "00000000-0000-0000-0000-000000000000"),
        ):
            assert (await failure(call)).problem is DriverProblem.NOT_FOUND

    async def test_request_that_fails_says_why(self, rig: Rig) -> None:
        rig.trouble("create", "fails")
        created = await rig.driver.create(rig.key())
        rig.finish()
        ended = await rig.driver.follow("create", created.request_id)
        assert ended.status == "FAILED"
        assert ended.reason

    # calls that fail

    @pytest.mark.parametrize(
        ("what", "problem"),
        [("throttled", DriverProblem.THROTTLED), ("slots_full", DriverProblem.SLOTS_FULL)],
    )
    async def test_create_that_was_refused_is_unambiguous_and_makes_nothing(
        self, rig: Rig, what: Trouble, problem: DriverProblem
    ) -> None:
        rig.trouble("create", what)
        error = await failure(rig.driver.create(rig.key()))
        assert (error.problem, error.ambiguous) == (problem, False)
        rig.finish()
        assert not rig.there(rig.key())

    async def test_create_whose_answer_was_lost_is_ambiguous_and_can_be_found(self, rig: Rig) -> None:
        """polling.py looks for it among what is in progress, and asks each for its key."""
        key = rig.key()
        rig.trouble("create", "answer_lost")
        assert (await failure(rig.driver.create(key))).ambiguous
        [found] = await rig.driver.outstanding("create")
        assert (await rig.driver.follow("create", found.request_id)).key == key
        rig.finish()
        assert rig.there(key), "it was sent, and taken"

    async def test_delete_whose_answer_was_lost_is_ambiguous_and_happened(self, rig: Rig) -> None:
        key = await made(rig)
        rig.trouble("delete", "answer_lost")
        assert (await failure(rig.driver.delete(key))).ambiguous
        rig.finish()
        assert not rig.there(key)

    async def test_create_that_broke_off_is_sent_once(self, rig: Rig) -> None:
        """A repetition could leave access behind that nobody knows of."""
        rig.trouble("create", "never_arrived")
        assert (await failure(rig.driver.create(rig.key()))).ambiguous
        rig.finish()
        assert not rig.there(rig.key())

    # turns

    async def test_create_asks_whether_it_is_still_wanted_after_its_turn(self, rig: Rig) -> None:
        turns: list[int] = []

        async def confirm() -> None:
            turns.append(len(rig.priorities))
            raise Stopped

        await rig.driver.holders(rig.key().account_id, rig.key().set_arn)
        before = len(rig.priorities)
        with pytest.raises(Stopped):
            await rig.driver.create(rig.key(), confirm=confirm)
        assert turns == [before + 1]
        rig.finish()
        assert not rig.there(rig.key())

    async def test_every_call_takes_its_turn_by_what_it_is_for(self, rig: Rig) -> None:
        key = await made(rig)
        rig.priorities.clear()
        await rig.driver.holders(key.account_id, key.set_arn, priority="drift")
        await rig.driver.create(key)
        rig.finish()
        deleted: Request = await rig.driver.delete(key)
        await rig.driver.follow("delete", deleted.request_id)
        await rig.driver.outstanding("delete")
        assert rig.priorities == ["drift", "create", "revoke", "poll", "poll"]


async def holds(rig: Rig, key: AssignmentKey) -> bool:
    return AwsPrincipal("USER", key.user_id) in await rig.driver.holders(key.account_id, key.set_arn)


async def made(rig: Rig, user: str = "ann") -> AssignmentKey:
    """An assignment that the driver made."""
    key = rig.key(user)
    await rig.driver.create(key)
    rig.finish()
    assert rig.there(key)
    return key


async def failure(call: Awaitable[object]) -> DriverError:
    with pytest.raises(DriverError) as caught:
        await call
    return caught.value
