"""Tests that mostly wait, begun together: each awaits its own scenario, which the first of them started.

A ticket's life is seconds of waiting for ends and read-backs; sixteen of them take no longer than one.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.running import Running

Scenario = Callable[[Running], Awaitable[None]]


class Together:
    """The scenarios of one file. A decorated scenario is a test of the same name."""

    def __init__(self) -> None:
        self._scenarios: list[Scenario] = []
        self._begun: dict[Scenario, asyncio.Task[None]] = {}

    def __call__(self, scenario: Scenario) -> Scenario:
        self._scenarios.append(scenario)

        @functools.wraps(scenario)
        async def test(running: Running) -> None:
            if not self._begun:
                self._begin(running)
            await self._begun[scenario]

        return test

    def _begin(self, running: Running) -> None:
        for scenario in self._scenarios:
            task = asyncio.ensure_future(_run(scenario, running))
            task.add_done_callback(_look_at)
            self._begun[scenario] = task


async def _run(scenario: Scenario, running: Running) -> None:
    await scenario(running)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Where only some of the tests were chosen, nobody else asks how the others ended."""
    if not task.cancelled():
        task.exception()
