"""AWS's answers, shared among the visits that ask the same: one list of a (set, account) for all who want it.

Between looking.py and the driver. Nothing here decides: a read-back is answered by a call that was sent after
it was asked for, always. Only a look *before* an operation may be answered by one of a moment ago, and only
where that says that the operation is needed, and was asked for when it already was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from services.provisioner.driver import (
    ACCOUNTS_A_CALL,
    USERS_A_CALL,
    AwsDirectory,
    AwsPrincipal,
    Driver,
    Priority,
    UserStatus,
)
from services.provisioner.limits import PRIORITIES

KEPT_FOR: Final = timedelta(seconds=20)
"""As long as a grant or an end may wait for a slot with what was read for it: for some operations' time."""
USERS_KEPT_FOR: Final = timedelta(seconds=15)
"""For those who begin together; who is disabled in these seconds cannot sign in with what they are given."""
ACCOUNTS_KEPT_FOR: Final = timedelta(minutes=1)
"""Longer than users: AWS itself refuses to create anything on an account that is not active."""
_GATHERED_S: Final = 0.05
"""Those who ask within so long are answered together; nobody waits for it to take access away."""
_UNHURRIED: Final = frozenset({"verify", "drift"})

_Pair = tuple[str, str]
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


@dataclass(eq=False)
class _Listing:
    """A call that has still to be sent, or is on its way; whoever asked before it was sent has its answer."""

    priority: Priority
    sent: bool = False
    answer: "asyncio.Task[frozenset[AwsPrincipal]]" = field(init=False)

    async def note_sent(self) -> None:
        self.sent = True


@dataclass(frozen=True, slots=True)
class _Kept(Generic[ValueT]):
    value: ValueT
    asked_at: datetime


class SharedReads:
    """Who holds a set on an account."""

    def __init__(self, driver: Driver, now: Callable[[], datetime]) -> None:
        self._driver = driver
        self._now = now
        self._listings: dict[_Pair, _Listing] = {}
        """By pair, the one that was asked for last."""
        self._on_their_way: set[_Listing] = set()
        self._kept: dict[_Pair, _Kept[frozenset[AwsPrincipal]]] = {}

    async def holders(
        self, account_id: str, set_arn: str, *, priority: Priority = "verify"
    ) -> frozenset[AwsPrincipal]:
        """As AWS says after this was asked. Raises `DriverError`."""
        pair = (account_id, set_arn)
        listing = self._listings.get(pair)
        if listing is None or listing.sent or _before(priority, listing.priority):
            listing = self._listings[pair] = _Listing(priority)
            self._on_their_way.add(listing)
            listing.answer = asyncio.ensure_future(self._list(pair, listing))
        # Shielded: others may wait for the same answer when one who asked is cancelled.
        return await asyncio.shield(listing.answer)

    async def holders_before(
        self, operation: Priority, account_id: str, set_arn: str, user_id: str, *, wanted_since: datetime
    ) -> frozenset[AwsPrincipal]:
        """The same, for a look that comes before a creation ("grant") or a deletion ("revoke").

        What waits for a slot need not be looked at again: an answer of a moment ago will do if it was asked
        for after the operation was wanted, and calls for it: the user is not there yet, or is there still.
        Whatever it was, what AWS holds afterwards is read back.
        """
        kept = self._kept.get((account_id, set_arn))
        if kept is not None and wanted_since <= kept.asked_at and self._now() - kept.asked_at < KEPT_FOR:
            there = AwsPrincipal("USER", user_id) in kept.value
            if there == (operation == "revoke"):
                return kept.value
        return await self.holders(account_id, set_arn, priority=operation)

    async def stop(self) -> None:
        """Nobody asks any more."""
        answers = [listing.answer for listing in self._on_their_way]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)

    async def _list(self, pair: _Pair, listing: _Listing) -> frozenset[AwsPrincipal]:
        try:
            if listing.priority in _UNHURRIED:
                await asyncio.sleep(_GATHERED_S)
            asked_at = self._now()
            found = await self._driver.holders(*pair, priority=listing.priority, confirm=listing.note_sent)
        finally:
            self._on_their_way.discard(listing)
            if self._listings.get(pair) is listing:
                del self._listings[pair]
        self._keep(pair, _Kept(found, asked_at))
        return found

    def _keep(self, pair: _Pair, answer: _Kept[frozenset[AwsPrincipal]]) -> None:
        self._kept = {
            key: kept for key, kept in self._kept.items() if answer.asked_at - kept.asked_at < KEPT_FOR
        }
        self._kept[pair] = answer


class SharedDirectory:
    """Users and accounts: one call for all who ask for the same, or lists where those are fewer calls."""

    def __init__(
        self,
        directory: AwsDirectory,
        now: Callable[[], datetime],
        *,
        users: Callable[[], int],
        accounts: Callable[[], int],
    ) -> None:
        """`users` and `accounts` say how many there are, 0 where nobody knows."""
        self._users: _Answers[UserStatus] = _Answers(
            directory.user, directory.every_user, now, keep=USERS_KEPT_FOR, a_call=USERS_A_CALL, known=users
        )
        self._accounts: _Answers[str] = _Answers(
            directory.account_state,
            directory.every_account_state,
            now,
            keep=ACCOUNTS_KEPT_FOR,
            a_call=ACCOUNTS_A_CALL,
            known=accounts,
        )

    async def stop(self) -> None:
        """Nobody asks any more."""
        await self._users.stop()
        await self._accounts.stop()

    async def user(self, user_id: str) -> UserStatus | None:
        return await self._users.get(user_id)

    async def account_state(self, account_id: str) -> str | None:
        return await self._accounts.get(account_id)


class _Answers(Generic[ValueT]):
    """Answers by id, each kept for a while; those who ask together are answered together."""

    def __init__(
        self,
        one: Callable[[str], Awaitable[ValueT | None]],
        everything: Callable[[], Awaitable[Mapping[str, ValueT]]],
        now: Callable[[], datetime],
        *,
        keep: timedelta,
        a_call: int,
        known: Callable[[], int],
    ) -> None:
        self._one, self._everything, self._now = one, everything, now
        self._keep, self._a_call, self._known = keep, a_call, known
        self._kept: dict[str, _Kept[ValueT | None]] = {}
        self._wanted: dict[str, datetime] = {}
        """Ids asked for lately, answered or not."""
        self._waiting: dict[str, asyncio.Future[ValueT | None]] = {}
        self._round: asyncio.Task[None] | None = None

    async def get(self, key: str) -> ValueT | None:
        self._wanted[key] = now = self._now()
        if self._is_fresh(key, now):
            return self._kept[key].value
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[key]
        if self._round is None or self._round.done():
            self._round = asyncio.ensure_future(self._answer_all())
        return await asyncio.shield(waiting)

    async def stop(self) -> None:
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def _is_fresh(self, key: str, now: datetime) -> bool:
        return key in self._kept and timedelta(0) <= now - self._kept[key].asked_at < self._keep

    async def _answer_all(self) -> None:
        """Until nobody waits. Those who ask while calls are on their way come together after them."""
        await asyncio.sleep(_GATHERED_S)
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            now = self._now()
            for key in [key for key in asked if self._is_fresh(key, now)]:
                asked.pop(key).set_result(self._kept[key].value)
            self._wanted = {key: at for key, at in self._wanted.items() if now - at < self._keep}
            if asked and self._a_list_is_fewer_calls(len(asked)):
                await self._answer_by_list(asked, now)
            else:
                await asyncio.gather(*(self._answer(key, future, now) for key, future in asked.items()))

    def _a_list_is_fewer_calls(self, asked: int) -> bool:
        """Where many ask at once more will, of whom it tells as well; so it is if many have asked lately."""
        calls = -(-self._known() // self._a_call)
        return 0 < calls < len(self._wanted) + asked - 1

    async def _answer(self, key: str, future: asyncio.Future[ValueT | None], now: datetime) -> None:
        try:
            value = await self._one(key)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is for who asked)
            future.set_exception(error)
        else:
            self._kept[key] = _Kept(value, now)
            future.set_result(value)

    async def _answer_by_list(
        self, asked: Mapping[str, asyncio.Future[ValueT | None]], now: datetime
    ) -> None:
        try:
            found = await self._everything()
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is for who asked)
            for future in asked.values():
                future.set_exception(error)
            return
        self._kept = {key: _Kept(value, now) for key, value in found.items()}
        for key, future in asked.items():
            self._kept.setdefault(key, _Kept(None, now))
            future.set_result(found.get(key))


def _before(one: Priority, other: Priority) -> bool:
    return PRIORITIES.index(one) < PRIORITIES.index(other)
