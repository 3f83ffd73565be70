"""Tests that mostly wait, begun together: each awaits its own scenario, which the first of them started.

A ticket's life is seconds of waiting for ends and read-backs; sixteen of them take no longer than one. Only
scenarios whose tests were selected are begun.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.running import Running

Scenario = Callable[[Running], Awaitable[None]]
Test = Callable[[Running, pytest.FixtureRequest], Awaitable[None]]


class Together:
    """The scenarios of one file. A decorated scenario is a test of the same name."""

    def __init__(self) -> None:
        self._scenarios: dict[str, Scenario] = {}
        self._begun: dict[str, asyncio.Task[None]] = {}

    def __call__(self, scenario: Scenario) -> Test:
        name = scenario.__name__
        self._scenarios[name] = scenario

        async def test(running: Running, request: pytest.FixtureRequest) -> None:
            if not self._begun:
                self._begin(running, request)
            await self._begun[name]

        # Without functools.wraps: pytest would look through it and not give `request`.
        test.__name__, test.__doc__, test.__module__ = name, scenario.__doc__, scenario.__module__
        return test

    def _begin(self, running: Running, request: pytest.FixtureRequest) -> None:
        file = request.node.path
        for item in request.session.items:
            if item.path == file and isinstance(item, pytest.Function) and item.name in self._scenarios:
                self._begun[item.name] = asyncio.create_task(_run(self._scenarios[item.name], running))


async def _run(scenario: Scenario, running: Running) -> None:
    await scenario(running)
