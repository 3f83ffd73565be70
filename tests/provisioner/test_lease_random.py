"""Whatever two engines do, and however slow their database is: no change of one meets one of the other."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.provisioner.lease import Lease
from services.provisioner.settings import ProvisionerSettings
from services.provisioner.store.errors import DATABASE_AWAY
from services.provisioner.store.lease import LeaseLost
from tests.support.provisioner_lab import Lab
from tests.support.sampling import some

S = timedelta(seconds=1)
DEFAULTS = ProvisionerSettings.model_fields
TTL = DEFAULTS["lease_ttl_s"].default * S
CHANGE = DEFAULTS["change_timeout_s"].default * S
TROUBLES = ("pause", "away", "set the clock")
SECONDS = (0.3, 2.0, 3.9, 4.1, 6.0)
"""How long a trouble lasts, and how long a statement takes now and then."""


@dataclass
class EngineAtWork:
    """Its lease, what it suffers, and when the changes it began must have ended, by the clock nobody sets."""

    lease: Lease
    renewing: bool = False
    paused_until: timedelta = timedelta(0)
    away_until: timedelta = timedelta(0)
    over_at: list[timedelta] = field(default_factory=list)


class Two:
    """They act in whatever order. One that is paused does nothing, and on waking anything."""

    def __init__(self, lab: Lab, draw: random.Random) -> None:
        self.lab, self.draw = lab, draw
        self.story: list[str] = []
        self.taken = 0
        self.engines = {name: EngineAtWork(self._lease(name)) for name in ("one", "two")}

    @property
    def now(self) -> timedelta:
        return self.lab.clock.elapsed()

    def tell(self, what: str) -> None:
        self.story.append(f"{self.now.total_seconds():6.2f} {what}")

    def _lease(self, name: str) -> Lease:
        pool: Any = SlowPool(self, name)
        return Lease(
            pool=lambda: pool,
            clock=self.lab.clock,
            holder=name,
            ttl=TTL,
            change_timeout=CHANGE,
            on_taken=lambda: self._note_taken(name),
        )

    def _note_taken(self, name: str) -> None:
        self.taken += 1
        self.tell(f"{name} has taken the lease")

    async def act(self) -> None:
        self.lab.clock.advance(self.draw.choice([0.05, 0.1, 0.25]) * S)
        name = self.draw.choice(list(self.engines))
        engine = self.engines[name]
        if self.draw.random() < 0.04:
            self._befall(name, self.draw.choice(TROUBLES))
        if engine.paused_until > self.now:
            return
        if not engine.renewing and self.draw.random() < 0.6:
            await self._renew(engine)
        self._change(name)

    def _befall(self, name: str, trouble: str) -> None:
        engine, until = self.engines[name], self.now + self.draw.choice(SECONDS) * S
        self.tell(f"{name}: {trouble}, until {until.total_seconds():.2f}")
        match trouble:
            case "pause":
                engine.paused_until = until
            case "away":
                engine.away_until = until
            case _:
                self.lab.clock.step(self.draw.choice([-600, -3, 3, 600]) * S)

    async def _renew(self, engine: EngineAtWork) -> None:
        engine.renewing = True
        try:
            await engine.lease.renew()
        except DATABASE_AWAY:
            return
        finally:
            engine.renewing = False

    def _change(self, name: str) -> None:
        """Begun as Calls begins one: checked, and given up after its time."""
        try:
            self.engines[name].lease.check(changes=True)
        except LeaseLost:
            return
        self.engines[name].over_at.append(self.now + CHANGE)
        (other,) = (engine for key, engine in self.engines.items() if key != name)
        if any(at > self.now for at in other.over_at):
            self.tell(f"{name} begins a change, and one of the other's is on its way")
            raise AssertionError("\n".join(self.story))


@dataclass
class SlowPool:
    """The lab's database as one engine has it. Its statements may take long, and others act meanwhile."""

    two: Two
    name: str

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["SlowPool"]:
        yield self

    async def execute(self, query: str, *args: Any) -> Any:
        return await self._run("execute", query, args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self._run("fetchval", query, args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        return await self._run("fetchrow", query, args)

    async def _run(self, method: str, query: str, args: tuple[Any, ...]) -> Any:
        await self._wait("on its way")
        if self.two.engines[self.name].away_until > self.two.now:
            raise asyncpg.ConnectionDoesNotExistError("the database is away")
        async with self.two.lab.context.pool.acquire() as conn:
            answer = await getattr(conn, method)(query, *args)
        await self._wait("answered late")
        return answer

    async def _wait(self, how: str) -> None:
        others = [engine for name, engine in self.two.engines.items() if name != self.name]
        if self.two.draw.random() > 0.03 or any(engine.renewing for engine in others):
            return
        until = self.two.now + self.two.draw.choice(SECONDS) * S
        self.two.tell(f"{self.name}: a statement is {how}, until {until.total_seconds():.2f}")
        while self.two.now < until or self.two.engines[self.name].paused_until > self.two.now:
            await self.two.act()


@pytest.mark.parametrize("seed", some(range(200)))
async def test_no_change_of_the_old_engine_is_on_its_way_when_the_new_one_may_begin(
    lab: Lab, seed: int
) -> None:
    two = Two(lab, random.Random(seed))
    for _ in range(300):
        await two.act()
    assert two.taken, "nobody could do anything"
