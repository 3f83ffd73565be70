"""Runs one schedule of one world on the real provisioner, and says what was wrong.

A `Stage` is made once per process: the database, the simulator, the service. Each run begins with emptied
tables and a fresh organisation.
"""

import asyncio
import itertools
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
from model.judge import Judge
from model.scene import AwsClock, Scene, WorldClock
from model.turns import Choose, Place, Taken, Turns, VirtualLoop
from model.watched import Violation
from model.watcher import Seen, Watcher
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
TAIL_S: Final = 200.0
"""Seconds after the last end in which everything must be over, besides what the choices excuse."""
AFTERWARDS_S: Final = 0.0137
"""So long after each second states are compared: what was to happen with it is over, in whatever order."""
ELSEWHERE_S: Final = 40.0
"""So long a process speaks for another instance, until somebody notices."""
FREED_S: Final = 330.0
"""After so long operations that never end are ended: beyond the patience of the product."""
_EMPTY: Final = "; ".join(
    [*(f"DELETE FROM {table}" for table in EMPTIED),
     "UPDATE lease SET holder = 'nobody', epoch = 0, deadline = 'epoch'"]
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What came of one schedule."""

    world: str
    schedule: Schedule
    violations: tuple[Violation, ...]
    places: tuple[Place, ...]
    states: frozenset[bytes]
    needless: Mapping[Taken, Taken | None]
    """Choices at these places that need not be tried, and as which they are: `Turns.needless`."""
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
    aws.status_lag_s, aws.answers_in_s = world.status_lag_s, world.answers_in_s
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
    watcher = Watcher(scene, seen, choices)
    stage.pool.committed = watcher.committed
    stage.pool.of_a_reading = world.of_a_reading
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
        tuple(turns.places), frozenset(watcher.states), turns.needless, watcher.merged, tuple(judge.story),
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


async def _until_over(scene: Scene, world: World, watcher: Watcher) -> None:
    turns = scene.turns
    await asyncio.sleep(2 * AFTERWARDS_S)
    while not scene.judge.violations and not watcher.merged:
        await asyncio.sleep(1)
        await turns.park("the judge")  # in its turn: nobody is cut off in the middle of a statement
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


async def _moments(scene: Scene, world: World, watcher: Watcher) -> None:
    """Places at which anything may happen from outside; between them and afterwards, what is passed."""
    await asyncio.sleep(AFTERWARDS_S)
    for second in itertools.count(1):
        await asyncio.sleep(1)
        is_moment = second % MOMENT_S == 0 and second <= world.length
        if not is_moment and not watcher.may_merge:
            continue
        choice = await scene.turns.park(f"moment {second}", *(world.moments if is_moment else ()))
        await watcher.note(may_merge=choice is None and watcher.may_merge)
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
