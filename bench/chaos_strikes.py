"""Everything that goes wrong in bench/chaos.py, all of it at once: kills, pauses, outages, clock steps, AWS.

Each strike is remembered with its times: the judge names the reason of an overrun by them. `calm` takes back
all that is still there.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bench.chaos_clock import set_clock
from bench.fleet import Down, Fleet

LEASE_TTL_S: Final = 4.0
"""The default of JIT_LEASE_TTL_S: the other replica takes over after so long."""
_BACK_S: Final = 10.0
"""Until everybody has found the database again: pools wait up to five seconds between two attempts."""
_BELIEVED_S: Final = 75.0
"""A process asks the database for the time every 30 s; after a fault, later."""
_STUCK_AFTER_S: Final = 20.0

_CHANGES: Final = ("CreateAccountAssignment", "DeleteAccountAssignment")
GUSTS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "throttled": ({"operation": "*", "kind": "error", "probability": 0.4},),
    "internal errors": ({"operation": "*", "kind": "http500", "probability": 0.4},),
    "connections cut": (
        {"operation": "*", "kind": "reset_before", "probability": 0.2},
        *({"operation": one, "kind": "reset_after_accept", "probability": 0.5} for one in _CHANGES),
    ),
    "conflicts": tuple(
        {
            "operation": one,
            "kind": "error",
            "code": "ConflictException",
            "message": "busy",
            "probability": 0.7,
        }
        for one in _CHANGES
    ),
    "slow answers": ({"operation": "*", "kind": "latency", "seconds": 2, "probability": 0.5},),
    "slow operations": tuple(
        {"operation": one, "kind": "duration", "seconds": 12, "probability": 0.6} for one in _CHANGES
    ),
    "failing operations": (
        *({"operation": one, "kind": "fail_async", "probability": 0.3} for one in _CHANGES),
        {"operation": "CreateAccountAssignment", "kind": "fail_async", "partial": True, "probability": 0.3},
    ),
    "stuck operations": tuple({"operation": one, "kind": "never_finishes", "times": 1} for one in _CHANGES),
}
LATE_LISTS: Final = "late lists"
_LATE_LISTS_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Strike:
    """`what` was struck (a service, a server, a clock, AWS), in which way, and until when. Epoch seconds."""

    what: str
    how: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Step:
    """The provisioner's database was so many seconds ahead (or, below nought, behind)."""

    seconds: float
    since: float
    until: float


Striker = Callable[[random.Random], Coroutine[Any, Any, None]]
"""Strikes now and then, for ever."""


@dataclass
class Storm:
    running: Fleet
    seed: int
    lag_s: float
    """What AWS's lists lag by in calm weather."""
    strikes: list[Strike] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _busy: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def rage(self, *, turn: int) -> None:
        """Until it is cancelled; each `turn` has dice of its own."""
        names = sorted(self.running.services)
        strikers: list[Striker] = [
            *(partial(self._kills, name) for name in names),
            partial(self._pauses, names),
            self._broker_outages,
            self._database_outages,
            self._clock_steps,
            self._gusts,
            self._stuck_operations,
        ]
        async with asyncio.TaskGroup() as together:
            for number, striker in enumerate(strikers):
                together.create_task(striker(random.Random(f"{self.seed}/{turn}/{number}")))

    async def calm(self) -> None:
        """Everything works again, and everybody knows the time."""
        await set_clock(self.running, 0)
        await self.running.simulate("DELETE", "/faults")
        await self.running.simulate("PUT", "/settings", {"list_lag_seconds": self.lag_s})
        await self._finish_stuck(older_than=0)
        for service in self.running.services.values():
            if not service.running:
                service.start()
            await service.until_ready(self.running.client)

    # what the judge asks

    def wrong(self, since: float, until: float) -> float:
        """By how much the provisioner may have been wrong about the time between two moments."""
        near = [step for step in self.steps if step.since <= until and since <= step.until + _BELIEVED_S]
        return max((abs(step.seconds) for step in near), default=0.0)

    @property
    def blind(self) -> list[Down]:
        """When not both provisioners looked at the table of claims."""
        engines = [one for name, one in self.running.services.items() if "provisioner" in {name, one.serves}]
        away = [Down(one.since, one.until + _BACK_S) for one in self.running.database_downs]
        return [*away, *(down for engine in engines for down in engine.downs)]

    @property
    def downs(self) -> list[Down]:
        """When revoking could not be expected: after those the lease has to run out for the other engine."""
        waiting = [Down(one.since, max(one.until, one.since + LEASE_TTL_S + 2)) for one in self.blind]
        return [*waiting, *(Down(one.since, one.until) for one in self.strikes if one.what == "AWS")]

    def reasons(self, since: float, until: float) -> list[str]:
        """What went wrong between two moments, in the order in which it began."""
        clock = [
            Strike(
                "clock",
                f"the provisioner's {abs(one.seconds):.0f} s {_side(one.seconds)}",
                one.since,
                one.until,
            )
            for one in self.steps
        ]
        near = [one for one in [*self.strikes, *clock] if one.since < until and one.until > since]
        return [
            f"{one.what}: {one.how} ({one.until - one.since:.0f} s)"
            for one in sorted(near, key=lambda one: one.since)
        ]

    # strikers: each does one thing now and then, for ever

    async def _kills(self, name: str, dice: random.Random) -> None:
        service = self.running.services[name]
        while True:
            await asyncio.sleep(min(60.0, 5 + dice.expovariate(1 / 25)))
            async with self._alone(name), self._noted(name, "killed"):
                await service.restart(self.running.client, after=dice.uniform(0.2, 2))

    async def _pauses(self, names: list[str], dice: random.Random) -> None:
        while True:
            await asyncio.sleep(4 + dice.expovariate(1 / 6))
            name = dice.choice(names)
            service = self.running.services[name]
            # Some of the engine's are far longer than its lease, and than a transaction may stand still.
            long = "provisioner" in {name, service.serves} and dice.random() < 0.4
            seconds = dice.uniform(19, 26) if long else dice.uniform(1, 6)
            async with self._alone(name), self._noted(name, "paused"):
                service.pause()
                try:
                    await asyncio.sleep(seconds)
                finally:
                    service.wake()
                await service.until_ready(self.running.client)

    async def _broker_outages(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(15 + dice.expovariate(1 / 25))
            async with self._noted("broker", "killed"):
                await self.running.bounce_broker(after=dice.uniform(1, 8))

    async def _database_outages(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(20 + dice.expovariate(1 / 25))
            async with self._noted("database", "killed"):
                await self.running.bounce_database(after=dice.uniform(0.5, 6))

    async def _clock_steps(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(10 + dice.expovariate(1 / 20))
            seconds, since = dice.choice([-1, 1]) * dice.uniform(5, 40), time.time()
            try:
                await set_clock(self.running, seconds)
                await asyncio.sleep(dice.uniform(15, 40))
            finally:
                # Should it be cancelled here, calm() takes it back.
                self.steps.append(Step(seconds, since, time.time()))
            await set_clock(self.running, 0)

    async def _gusts(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(dice.uniform(2, 6))
            kinds = [one for one in GUSTS if one != "stuck operations"]
            how = dice.choice([*kinds, LATE_LISTS])
            async with self._noted("AWS", how):
                await self._gust(how, dice)

    async def _stuck_operations(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(dice.uniform(10, 25))
            async with self._noted("AWS", "stuck operations"):
                rules = await self._put_faults("stuck operations", dice)
                await asyncio.sleep(dice.uniform(45, 60))
                await self._remove(rules)
                await self._finish_stuck(older_than=_STUCK_AFTER_S)

    async def _gust(self, how: str, dice: random.Random) -> None:
        if how == LATE_LISTS:
            await self.running.simulate("PUT", "/settings", {"list_lag_seconds": _LATE_LISTS_S})
            await asyncio.sleep(dice.uniform(5, 12))
            await self.running.simulate("PUT", "/settings", {"list_lag_seconds": self.lag_s})
            return
        rules = await self._put_faults(how, dice)
        await asyncio.sleep(dice.uniform(5, 12))
        await self._remove(rules)

    async def _put_faults(self, how: str, dice: random.Random) -> list[int]:
        return [
            (await self.running.simulate("POST", "/faults", {**rule, "seed": dice.randrange(1 << 30)}))["id"]
            for rule in GUSTS[how]
        ]

    async def _remove(self, rules: list[int]) -> None:
        left = {rule["id"] for rule in (await self.running.simulate("GET", "/faults"))["faults"]}
        for rule in left & set(rules):
            await self.running.simulate("DELETE", f"/faults/{rule}")

    async def _finish_stuck(self, *, older_than: float) -> None:
        """AWS gets round to what it never finished."""
        for request in (await self.running.simulate("GET", "/requests?status=IN_PROGRESS"))["requests"]:
            if request["seconds"] is None and time.time() - request["created_at"] >= older_than:
                await self.running.simulate("POST", f"/requests/{request['id']}/finish", {})

    @asynccontextmanager
    async def _noted(self, what: str, how: str) -> AsyncIterator[None]:
        since = time.time()
        try:
            yield
        finally:
            self.strikes.append(Strike(what, how, since, time.time()))

    def _alone(self, name: str) -> asyncio.Lock:
        """One strike at a service at a time."""
        return self._busy.setdefault(name, asyncio.Lock())


def _side(seconds: float) -> str:
    return "ahead" if seconds > 0 else "behind"
