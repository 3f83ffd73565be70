"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

EVERY_S = 0.01
PATIENCE_S = 15.0


async def until(
    condition: Callable[[], object | Awaitable[object]], timeout_s: float = PATIENCE_S, *, what: str = ""
) -> None:
    """Return as soon as `condition` is truthy; fail with `what` (or its name) when it does not become so."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await _value(condition):  # noqa: ASYNC110 (what is waited for sets no event)
                await asyncio.sleep(EVERY_S)
    except TimeoutError:
        name = what or getattr(condition, "__qualname__", repr(condition))
        raise AssertionError(f"not within {timeout_s} s: {name}") from None


async def _value(condition: Callable[[], object | Awaitable[object]]) -> object:
    found = condition()
    return await found if inspect.isawaitable(found) else found
