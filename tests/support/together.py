"""Tests that mostly wait, begun together: each awaits its own scenario, which was begun with all others.

A ticket's life is seconds of waiting for ends and read-backs; sixteen of them take no longer than one. Only
scenarios whose tests were selected are begun.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.running import Running

Scenario = Callable[[Running], Awaitable[None]]
Test = Callable[[Running], Awaitable[None]]

AT_ONCE = 12
"""More would only wait for the processor, and their tickets' windows with them."""


class Together:
    """The scenarios of some files. A decorated scenario is a test of the same name."""

    def __init__(self) -> None:
        self._scenarios: dict[tuple[str, str], Scenario] = {}
        self._begun: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    def __call__(self, scenario: Scenario) -> Test:
        key = (scenario.__module__, scenario.__name__)
        self._scenarios[key] = scenario

        # It names the fixture, so that it is asked for: whoever makes it begins us.
        async def test(running: Running) -> None:
            await self._begun[key]

        # Without functools.wraps: pytest would look through it and ask for what the scenario takes.
        test.__name__, test.__doc__, test.__module__ = (
            scenario.__name__,
            scenario.__doc__,
            scenario.__module__,
        )
        return test

    def begin(self, running: Running, selected: list[pytest.Item]) -> None:
        """Begin what was selected, in this order; called by the fixture that makes what runs."""
        for item in selected:
            key = (item.module.__name__, item.name) if isinstance(item, pytest.Function) else None
            if key in self._scenarios:
                self._begun[key] = asyncio.create_task(self._run(self._scenarios[key], running))

    async def _run(self, scenario: Scenario, running: Running) -> None:
        async with self._places:
            await scenario(running)


together = Together()
"""Those of the running services."""
