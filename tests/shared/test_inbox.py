"""An event's effect happens once, also when it is delivered twice at the same moment."""

import asyncio

import pytest

from shared.contracts.configuration import ConfigurationFact, facts_of
from shared.contracts.documents import RegisteredAccount
from shared.database.pool import Pool, transaction
from shared.foundation.clock import new_id
from shared.messaging import inbox
from shared.messaging.envelope import Envelope, Received
from tests.support.corridor import fact
from tests.support.harness import NOW
from tests.support.waiting import until

ACCOUNT_FACTS = facts_of(RegisteredAccount)


def event(event_id: str, source: str = "ticket") -> Received[ConfigurationFact]:
    """A fact as it arrives from `source`."""
    return Received(fact("k", 1), Envelope(event_id, ACCOUNT_FACTS.changed.TYPE, "k", source, NOW, {}))


async def claimed_first(pool: Pool, event_id: str, go_on: asyncio.Event) -> bool:
    async with transaction(pool) as conn:
        first = await inbox.claim(conn, [event(event_id)], now=NOW)
        await go_on.wait()
        return bool(first)


async def claim_and_fail(pool: Pool, event_id: str, go_on: asyncio.Event, claimed: asyncio.Event) -> None:
    async with transaction(pool) as conn:
        await inbox.claim(conn, [event(event_id)], now=NOW)
        claimed.set()
        await go_on.wait()
        raise ValueError("the handler failed")


async def somebody_waits(pool: Pool) -> bool:
    found: bool = await pool.fetchval(
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database())"
    )
    return found


async def test_a_second_delivery_is_not_the_first(pool: Pool) -> None:
    event_id = new_id()
    async with transaction(pool) as conn:
        assert await inbox.claim(conn, [event(event_id)], now=NOW)
    async with transaction(pool) as conn:
        assert not await inbox.claim(conn, [event(event_id)], now=NOW)
        assert await inbox.claim(conn, [event(new_id())], now=NOW)


async def test_another_source_with_the_same_id_takes_nothing_away(pool: Pool) -> None:
    event_id = new_id()
    async with transaction(pool) as conn:
        assert await inbox.claim(conn, [event(event_id, "notifier")], now=NOW)
    async with transaction(pool) as conn:
        assert await inbox.claim(conn, [event(event_id, "ticket")], now=NOW)
        assert not await inbox.claim(conn, [event(event_id, "ticket")], now=NOW)
        assert not await inbox.claim(conn, [event(event_id, "notifier")], now=NOW)


async def test_two_deliveries_at_once_wait_for_each_other_and_one_is_first(pool: Pool) -> None:
    event_id, go_on = new_id(), asyncio.Event()
    both = [asyncio.create_task(claimed_first(pool, event_id, go_on)) for _ in range(2)]
    await until(lambda: somebody_waits(pool))
    go_on.set()
    assert sorted(await asyncio.gather(*both)) == [False, True]


async def test_a_second_delivery_takes_over_when_the_first_fails(pool: Pool) -> None:
    event_id, go_on, claimed = new_id(), asyncio.Event(), asyncio.Event()
    failing = asyncio.create_task(claim_and_fail(pool, event_id, go_on, claimed))
    await claimed.wait()
    second = asyncio.create_task(claimed_first(pool, event_id, go_on))
    await until(lambda: somebody_waits(pool))
    go_on.set()
    with pytest.raises(ValueError, match="the handler failed"):
        await failing
    assert await second


async def test_claim_of_many_answers_with_those_that_had_no_effect_yet(pool: Pool) -> None:
    known, new, other = event(new_id()), event(new_id()), event(new_id(), "approval")
    async with transaction(pool) as conn:
        assert await inbox.claim(conn, [], now=NOW) == set()
        assert await inbox.claim(conn, [known], now=NOW) == {inbox.identity(known)}
    async with transaction(pool) as conn:
        fresh = await inbox.claim(conn, [new, known, other, new], now=NOW)
    assert fresh == {inbox.identity(new), inbox.identity(other)}


async def test_what_is_given_back_is_claimed_again(pool: Pool) -> None:
    kept, left = event(new_id()), event(new_id())
    async with transaction(pool) as conn:
        await inbox.claim(conn, [kept, left], now=NOW)
        await inbox.give_back(conn, [left])
    async with transaction(pool) as conn:
        assert await inbox.claim(conn, [kept, left], now=NOW) == {inbox.identity(left)}


async def test_claims_of_the_same_events_in_other_orders_wait_for_each_other_and_none_fails(
    pool: Pool,
) -> None:
    events = [event(new_id()) for _ in range(40)]

    async def claim_all(order: list[Received[ConfigurationFact]]) -> int:
        async with transaction(pool) as conn:
            return len(await inbox.claim(conn, order, now=NOW))

    orders = [events, events[::-1], events[20:] + events[:20]]
    assert sorted(await asyncio.gather(*(claim_all(order) for order in orders))) == [0, 0, 40]
