"""Waiting for a nudge, or for as long as nobody nudges."""

import asyncio


async def nudged(event: asyncio.Event, within_s: float) -> bool:
    """Whether it was set within so many seconds.

    Not by `asyncio.wait_for`: before Python 3.12 that forgets a cancellation that comes together with the
    nudge, and whoever waits here goes on for ever.
    """
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
