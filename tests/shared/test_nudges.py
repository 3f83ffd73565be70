"""Who waits for a nudge hears it, gives up in time, and ends when cancelled in that very moment."""

import asyncio

import pytest

from shared.foundation.nudges import nudged


async def test_nudge_that_came_before_or_comes_now_is_heard_and_a_missing_one_is_not() -> None:
    event = asyncio.Event()
    assert not await nudged(event, 0.001)
    waiting = asyncio.ensure_future(nudged(event, 60))
    await asyncio.sleep(0)
    event.set()
    assert await waiting
    assert await nudged(event, 60)


async def test_cancellation_together_with_the_nudge_is_not_forgotten() -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(nudged(event, 60))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
