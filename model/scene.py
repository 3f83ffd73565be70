"""One run's world around the product: its replicas, the other services' events, people's edits in AWS."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from model.aws import ModelAws, connect
from model.database import ModelPool
from model.judge import Judge
from model.turns import ABOUT, PROCESS, Killed, Life, Turns, seconds_in
from model.watched import Watched
from services.provisioner.__main__ import Replica, assemble
from services.provisioner.commands import stops
from services.provisioner.consumers import subscriptions
from services.provisioner.settings import ProvisionerSettings
from shared.context import Context
from shared.contracts import ticket as tk
from shared.contracts.event import Actor
from shared.foundation.clock import ManualClock
from shared.http.access import Caller
from shared.identity.bindings import Principal
from shared.messaging import inbox
from shared.messaging.envelope import Received
from tests.support.harness import NOW
from tests.support.provisioner_facts import OtherServices

RESTART_S = 0.5
SPINNING_S = 0.5
SPINS_KNOWN = 40
"""Of a rule whose breaking is known: more often is another mistake."""
REDELIVERY_S = 1.0
OF_A_DELIVERY = ("late:6", "late:40", "twice", "after")


class WorldClock(ManualClock):
    """The database's clock: it follows the turns' time, and may be stepped."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(NOW)
        self.turns = turns
        self.start = NOW
        self.stepped = timedelta(0)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.turns.time) + self.stepped

    def elapsed(self) -> timedelta:
        """By a clock that nobody sets."""
        return timedelta(seconds=self.turns.time)


class AwsClock:
    """AWS's own, which nobody steps."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def now(self) -> float:
        return NOW.timestamp() + self.turns.time


class Process:
    """One replica: it starts, is killed, is frozen, and comes back under its name."""

    def __init__(self, name: str, scene: "Scene") -> None:
        self.life = Life(name)
        self.scene = scene
        self.replica: Replica | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        return self.replica is not None

    def start(self) -> None:
        if self.scene.over:
            return
        self.life = Life(self.life.name, self.life.number + 1)
        token, about = PROCESS.set(self.life), ABOUT.set("")
        try:
            replica = self.replica = self.scene.assemble(self.life.name)
            runs = (replica.lease.run, replica.engine.run, replica.expiry.run)
            self._tasks = [asyncio.ensure_future(run()) for run in runs]
        finally:
            PROCESS.reset(token)
            ABOUT.reset(about)

    def kill(self) -> None:
        """Everything of it ends where it stands. What it would do on its way out dies at its next stop."""
        if self.replica is not None:
            self._tasks += self.replica.engine._tasks()
        self.replica = None
        self.scene.turns.bury(self.life)
        for task in self._tasks:
            task.cancel()
        self.scene.leftovers += self._tasks
        self._tasks = []


class Scene(OtherServices):
    """A run's surroundings. Everything of the product that runs does so in one of its `processes`."""

    clock: WorldClock
    aws: ModelAws

    def __init__(
        self,
        *,
        clock: WorldClock,
        aws: ModelAws,
        turns: Turns,
        context: Context,
        settings: ProvisionerSettings,
        pool: ModelPool,
        judge: Judge,
        digests: Mapping[str, str],
    ) -> None:
        super().__init__(clock, aws, digests)
        self.turns, self.context, self.settings, self.pool, self.judge = turns, context, settings, pool, judge
        self.processes: dict[str, Process] = {}
        self.undelivered = 0
        self.elsewhere = False
        self.over = False
        self._spun = 0
        self.leftovers: list[asyncio.Task[None]] = []
        """Of processes that were killed."""
        self._timers: list[asyncio.TimerHandle] = []
        self._deliveries: list[asyncio.Task[None]] = []
        turns.kill = self._died
        turns.on_spin = self._stop_spinning
        context.nudge = self._nudge

    def assemble(self, name: str) -> Replica:
        settings = self.settings.model_copy(update={"replica": name})
        return assemble(
            self.context,
            settings,
            identity_center=lambda _, limiter: connect(
                self.aws,
                self.turns,
                limiter,
                elsewhere=self.elsewhere,
            ),
            jitter=lambda: 0.5,
        )

    def open(self, *names: str) -> None:
        for name in names:
            self.processes[name] = Process(name, self)
            self.processes[name].start()

    def kill(self, who: str, *, down_s: float = RESTART_S) -> None:
        process = self.processes[who]
        if process.alive:
            process.kill()
            self.at(down_s, process.start)

    def _died(self, life: Life) -> None:
        if self.processes[life.name].life == life:
            self.kill(life.name)

    def _stop_spinning(self, who: Life) -> None:
        """It is wrong, and the run would never end; if that is known time goes on, as calls take some."""
        last = [place.at for place in self.turns.places[-8:]]
        self.judge.wrong("spins", f"{who} goes on and on without waiting: {'; '.join(last)}")
        self._spun += 1
        if not self.judge.violations and self._spun < SPINS_KNOWN:
            self.turns.time += SPINNING_S
            return
        self.judge.insist("spins", f"{who} did so {self._spun} times")
        self.over = True
        for process in self.processes.values():
            process.kill()

    def _nudge(self, *ids: int) -> None:
        """Reaches the replica in whose process the change was made."""
        process = self.processes.get(PROCESS.get().name)
        if process is not None and process.replica is not None:
            process.replica.nudge(*ids)

    # what other services and people do

    def watch(self, name: str, ticket: tk.Ticket) -> tk.Ticket:
        """Let the judge know of a ticket's grants."""
        target = ticket.targets[0]
        assert target.window is not None
        for grant in ticket.grants:
            directory = self.aws.directory
            key = self.aws.named(directory.users[grant.beneficiary].id, target.account_id, target.set_name)
            self.judge.grants[grant.id] = Watched(name, key, ticket.submitted_at, target.window.ends_at)
        return ticket

    def deliver(
        self, at: float, name: str, event: Received[Any], then: Callable[[], None] = lambda: None
    ) -> None:
        async def take() -> None:
            async with self.context.unit_of_work() as work:
                table = {
                    cls: handler
                    for one in subscriptions(self.context)
                    for cls, handler in one.handlers.items()
                }
                if await inbox.claim(work.conn, [event], now=self.now):
                    await table[type(event.event)](work, event)
                work.after_commit(then)

        self._later(at, name, take)

    def revoke(self, at: float, name: str, **what: str) -> None:
        """An operator revokes everything of a user or an account."""
        carl = self.context.policy.known().user(self.user("carl"))
        assert carl is not None
        caller = Caller(
            Principal(carl, Actor(kind="person", name="carl", user_id=carl.id)), key=None, cause="request"
        )

        async def take() -> None:
            async with self.context.unit_of_work() as work:
                await stops.revoke(self.context, work, caller, reason="it has to end", **what)
                now = self.now
                work.after_commit(
                    lambda: self.judge.stopped(
                        lambda one: (
                            one.submitted_at <= now
                            and {one.key.principal, one.key.account} >= set(what.values())
                        )
                    )
                )

        self._later(at, name, take)

    def step_clock(self, seconds: float) -> None:
        """The database's clock is set; AWS's is not."""
        self.clock.stepped += timedelta(seconds=seconds)

    def at(self, at: float, do: Callable[[], None]) -> None:
        """Something that happens in so many seconds."""
        self._timers.append(asyncio.get_running_loop().call_later(at, do))

    def _later(self, at: float, name: str, take: Callable[[], Awaitable[None]]) -> None:
        self.undelivered += 1
        self._deliveries.append(asyncio.ensure_future(self._deliver(at, name, take)))

    async def _deliver(self, at: float, name: str, take: Callable[[], Awaitable[None]]) -> None:
        """Until it is committed, as the broker does; by the first replica that is there."""
        ABOUT.set(name)
        try:
            await asyncio.sleep(at)
            choice = await self.turns.park(f"deliver {name}", *OF_A_DELIVERY)
            if choice is not None and choice.startswith("late"):
                await asyncio.sleep(seconds_in(choice))
            for _ in range(2 if choice == "twice" else 1):
                while not await self._taken(take):  # noqa: ASYNC110 (a broker asks again, too)
                    await asyncio.sleep(REDELIVERY_S)
        finally:
            self.undelivered -= 1

    async def _taken(self, take: Callable[[], Awaitable[None]]) -> bool:
        process = next((one for one in self.processes.values() if one.alive), None)
        if process is None:
            return False
        token = PROCESS.set(process.life)
        try:
            await take()
        except (Killed, asyncpg.ConnectionDoesNotExistError):
            return False
        finally:
            PROCESS.reset(token)
        return True

    async def close(self) -> None:
        self.over = True
        for task in self._deliveries:
            task.cancel()
        for timer in self._timers:
            timer.cancel()
        for process in self.processes.values():
            process.kill()
        await asyncio.gather(*self._deliveries, *self.leftovers, return_exceptions=True)
