"""Runs one schedule of one world on the real provisioner, and says what was wrong.

A `Stage` is made once per process: the database, the simulator, the service. Each run begins with emptied
tables and a fresh organisation.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr

from model.aws import ModelAws
from model.aws import connect as connect_aws
from model.database import ModelPool, connect
from model.judge import Judge, Violation
from model.scene import AwsClock, Scene, WorldClock
from model.state import ROWS, state_of
from model.turns import Choose, Place, Turns, VirtualLoop
from model.worlds import MOMENT_S, World
from services.provisioner.__main__ import build
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.settings import ProvisionerSettings
from shared.observability.alerts import Alerts
from shared.runtime.service import Process as ServiceProcess
from tests.support.harness import ready_tables
from tests.support.provisioner_lab import EMPTIED, SETS, digest_of, organisation_of
from tests.support.signing import key_settings

Schedule = Mapping[tuple[str, int], str]
"""The choices that are made, by place: what stopped there and the how many-th time. All else is as usual."""
Seen = dict[bytes, float]
"""States from which nothing goes wrong, with what was excused until then: who is excused less goes on."""
TAIL_S: Final = 200.0
"""Seconds after the last end in which everything must be over, besides what the choices excuse."""
ELSEWHERE_S: Final = 40.0
"""So long a process speaks for another instance, until somebody notices."""
FREED_S: Final = 330.0
"""After so long operations that never end are ended: beyond the patience of the product."""
_EMPTY: Final = "; ".join(
    [*(f"DELETE FROM {table}" for table in EMPTIED),
     "UPDATE lease SET holder = 'nobody', epoch = 0, deadline = 'epoch'"]
)  # fmt: skip
_FACTS: Final = """
    SELECT id, type, payload FROM outbox WHERE id > $1 AND type LIKE 'access.%' ORDER BY id
"""


@dataclass(frozen=True)
class Run:
    """What came of one schedule."""

    world: str
    schedule: Schedule
    violations: tuple[Violation, ...]
    places: tuple[Place, ...]
    states: frozenset[bytes]
    merged: bool
    """It came to a state that was seen before, and ended there."""
    story: tuple[str, ...]
    seconds: float
    """Of virtual time."""


@dataclass
class Stage:
    loop: VirtualLoop
    turns: Turns
    owner: Any
    pool: ModelPool
    aws: ModelAws
    service: Any
    settings: ProvisionerSettings
    clock: WorldClock
    digests: Mapping[str, str]
    """Of the permission sets, by name."""
    known: frozenset[str] = frozenset()
    played: int = 0

    def play(self, world: World, schedule: Schedule, *, seen: Seen | None = None) -> Run:
        """With `seen` a run may end where it comes to a state that is known to end well."""
        choose = lambda place: schedule.get((place.at, place.nth))  # noqa: E731
        return self.explore(world, choose, seen=seen, choices=len(schedule))

    def explore(
        self, world: World, choose: Choose, *, seen: Seen | None = None, choices: int | None = None
    ) -> Run:
        return self.loop.run_until_complete(_play(self, world, choose, seen, choices))

    def close(self) -> None:
        async def close() -> None:
            with self.turns.io():
                await self.owner.close()
                await self.pool.inner.close()

        self.loop.run_until_complete(close())
        self.loop.close()


def make_stage(admin_dsn: str, dsn: str) -> Stage:
    """`dsn` is the app role's of a migrated database that nobody else uses."""
    turns = Turns()
    loop = VirtualLoop(turns)
    asyncio.set_event_loop(loop)

    async def make() -> Stage:
        with turns.io():
            owner = await asyncpg.connect(urlsplit(admin_dsn)._replace(path=urlsplit(dsn).path).geturl())
            await owner.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            inner = await connect(dsn)
        clock = WorldClock(turns)
        aws = ModelAws(clock=AwsClock(turns))
        settings = ProvisionerSettings(
            env="development", database_url=SecretStr(dsn), calls_per_second=None,
            operation_longest_s=60, replica="one", **key_settings("provisioner"),
        )  # fmt: skip
        aws.begin()
        centre = connect_aws(aws, turns, unlimited, elsewhere=False)
        digests = {name: await digest_of(aws, centre, name) for name in SETS}
        tables = ready_tables(clock, organisation_of(aws, digests))
        service = build(settings, process=ServiceProcess(clock, tables))
        model_pool = ModelPool(inner, turns)
        service.context.set_pool(model_pool)  # type: ignore[arg-type]
        return Stage(loop, turns, owner, model_pool, aws, service, settings, clock, digests)

    return loop.run_until_complete(make())


async def _play(stage: Stage, world: World, choose: Choose, seen: Seen | None, choices: int | None) -> Run:
    turns, aws, context = stage.turns, stage.aws, stage.service.context
    with turns.io():
        await stage.owner.execute(_EMPTY)
        stage.played += 1
        if stage.played % 200 == 0:
            await stage.owner.execute("VACUUM")
    settings = stage.settings.model_copy(update=dict(world.settings))
    stage.loop.begin_anew()
    turns.begin(choose)
    stage.clock.stepped = timedelta(seconds=world.clock_ahead_s)
    aws.begin(**world.aws)
    aws.status_lag_s = world.status_lag_s
    context.alerts = Alerts(service="provisioner", clock=stage.clock, channels=())
    judge = Judge(
        turns, aws, stage.clock.now, lambda: {one.key.split("/")[0] for one in context.alerts.active},
        lag_s=world.aws.get("list_lag_seconds", 0), settings=settings,
        known=stage.known,
        patience_s=world.patience_s,
    )  # fmt: skip
    scene = Scene(
        clock=stage.clock, aws=aws, turns=turns, context=context, settings=settings, pool=stage.pool,
        judge=judge,
        digests=stage.digests,
    )  # fmt: skip
    watcher = _Watcher(stage, scene, seen, choices)
    stage.pool.committed = watcher.committed
    world.arrange(scene)
    judge.begin()
    turns.on_turn = judge.look
    scene.open(*world.replicas)
    moments = asyncio.ensure_future(_moments(scene, world, watcher))
    try:
        await _until_over(scene, world, watcher)
    finally:
        turns.on_turn = lambda: None
        moments.cancel()
        await scene.close()
        await _sweep()
    run = Run(
        world.name, {(at, nth): choice for at, nth, choice in turns.taken}, tuple(judge.violations),
        tuple(turns.places), frozenset(watcher.states), watcher.merged, tuple(judge.story),
        turns.time,
    )  # fmt: skip
    if seen is not None and not run.violations:
        seen |= {state: min(slack, seen.get(state, slack)) for state, slack in watcher.states.items()}
    return run


async def _sweep() -> None:
    """Nothing of this run goes on in the next."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _until_over(scene: Scene, world: World, watcher: "_Watcher") -> None:
    turns = scene.turns
    while not scene.judge.violations and not watcher.merged:
        await asyncio.sleep(1)
        if watcher.failure is not None:
            raise watcher.failure
        passed = turns.time
        if passed > FREED_S:
            _free(scene)
        excused = min(scene.judge.slack_s, FREED_S + 200)
        over = scene.judge.is_over and not scene.undelivered and passed > world.length
        if over or passed > world.length + TAIL_S + excused:
            scene.judge.conclude(await watcher.in_flight() if scene.judge.is_over else 0)
            return


def _free(scene: Scene) -> None:
    requests = scene.aws.world.requests
    for one in requests.running():
        if one.seconds is None:
            requests.finish(one.id, now=scene.aws.clock.now())


async def _moments(scene: Scene, world: World, watcher: "_Watcher") -> None:
    """Places at which anything may happen from outside."""
    passed = 0.0
    while passed < world.length:
        await asyncio.sleep(MOMENT_S)
        passed += MOMENT_S
        choice = await scene.turns.park(f"moment {passed:.0f}", *world.moments)
        await watcher.note(may_merge=choice is None)
        if choice is not None:
            happen(scene, world, choice)


def happen(scene: Scene, world: World, choice: str) -> None:
    """What a schedule chose for a moment."""
    kind, _, what = choice.partition(":")
    match kind:
        case "kill":
            scene.kill(what)
        case "elsewhere":
            _move(scene, what, elsewhere=True)
            scene.at(ELSEWHERE_S, partial(_move, scene, what, elsewhere=False))
        case "pause":
            name, _, seconds = what.partition(":")
            scene.turns.frozen[name] = scene.turns.time + float(seconds)
        case "step":
            scene.step_clock(float(what))
        case "edit":
            _edit(scene, world.edits[what])


def _move(scene: Scene, name: str, *, elsewhere: bool) -> None:
    """The process comes back speaking for another instance, or for the right one again."""
    scene.elsewhere = elsewhere
    scene.kill(name)


def _edit(scene: Scene, edit: Mapping[str, Any]) -> None:
    try:
        scene.aws.edit(**edit)
    except LookupError:
        return  # what it is about has been deleted by an earlier one


class _Watcher:
    """Reads what each commit said, and which states are passed."""

    def __init__(self, stage: Stage, scene: Scene, seen: Seen | None, choices: int | None) -> None:
        self._stage = stage
        self._scene = scene
        self._seen = seen or {}
        self._choices = choices
        self._last = 0
        self.states: dict[bytes, float] = {}
        self.merged = False
        self.failure: Exception | None = None
        """Of ours: the product would only log it."""

    async def note(self, *, may_merge: bool) -> None:
        """The state at this moment; whether what comes from here is known already. In one's turn."""
        with self._stage.turns.io():
            rows = await self._stage.pool.inner.fetchrow(ROWS)
        state, slack = state_of(self._scene, rows), self._scene.judge.slack_s
        self.states[state] = slack
        made = may_merge and len(self._scene.turns.taken) == self._choices
        self.merged = self.merged or (made and self._seen.get(state, math.inf) <= slack)

    async def committed(self) -> None:
        try:
            await self._hear()
        except Exception as error:
            self.failure = self.failure or error
            raise

    async def _hear(self) -> None:
        facts = await self._stage.pool.inner.fetch(_FACTS, self._last)
        if facts:
            self._last = facts[-1]["id"]
            self._scene.judge.hear(facts)

    async def in_flight(self) -> int:
        """Operations that nobody has seen the end of."""
        await self._scene.turns.park("the end")
        with self._stage.turns.io():
            found: int = await self._stage.pool.inner.fetchval(
                "SELECT count(*) FROM assignment WHERE op_kind IS NOT NULL"
            )
        return found
