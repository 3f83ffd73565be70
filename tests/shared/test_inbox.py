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


async def claim(pool: Pool, event_id: str, go_on: asyncio.Event) -> bool:
    async with transaction(pool) as conn:
        first = await inbox.first_time(conn, event(event_id), now=NOW)
        await go_on.wait()
        return first


async def claim_and_fail(pool: Pool, event_id: str, go_on: asyncio.Event, claimed: asyncio.Event) -> None:
    async with transaction(pool) as conn:
        await inbox.first_time(conn, event(event_id), now=NOW)
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
        assert await inbox.first_time(conn, event(event_id), now=NOW)
    async with transaction(pool) as conn:
        assert not await inbox.first_time(conn, event(event_id), now=NOW)
        assert await inbox.first_time(conn, event(new_id()), now=NOW)


async def test_another_source_with_the_same_id_takes_nothing_away(pool: Pool) -> None:
    event_id = new_id()
    async with transaction(pool) as conn:
        assert await inbox.first_time(conn, event(event_id, "notifier"), now=NOW)
    async with transaction(pool) as conn:
        assert await inbox.first_time(conn, event(event_id, "ticket"), now=NOW)
        assert not await inbox.first_time(conn, event(event_id, "ticket"), now=NOW)
        assert not await inbox.first_time(conn, event(event_id, "notifier"), now=NOW)


async def test_two_deliveries_at_once_wait_for_each_other_and_one_is_first(pool: Pool) -> None:
    event_id, go_on = new_id(), asyncio.Event()
    both = [asyncio.create_task(claim(pool, event_id, go_on)) for _ in range(2)]
    await until(lambda: somebody_waits(pool))
    go_on.set()
    assert sorted(await asyncio.gather(*both)) == [False, True]


async def test_a_second_delivery_takes_over_when_the_first_fails(pool: Pool) -> None:
    event_id, go_on, claimed = new_id(), asyncio.Event(), asyncio.Event()
    failing = asyncio.create_task(claim_and_fail(pool, event_id, go_on, claimed))
    await claimed.wait()
    second = asyncio.create_task(claim(pool, event_id, go_on))
    await until(lambda: somebody_waits(pool))
    go_on.set()
    with pytest.raises(ValueError, match="the handler failed"):
        await failing
    assert await second
