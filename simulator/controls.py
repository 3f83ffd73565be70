"""The simulated AWS with its clock, faults, records and stored state: what a test or the judge turns.

The wiring of the other modules, without a socket. Used by `admin` over HTTP and by tests in the same process.
"""

from pathlib import Path
from typing import Any

from simulator import state
from simulator.clock import Clock, SystemClock
from simulator.directory import Directory
from simulator.directory_file import SHIPPED, load_directory
from simulator.edits import Edit, apply
from simulator.faults import FaultRule, Faults
from simulator.model import Assignment
from simulator.records import Records
from simulator.settings import Settings
from simulator.wire import Wire
from simulator.world import STANDING, World, restored


class Controls:
    """`settings`, when given, win over those of a stored state. Everything else of the state is kept."""

    def __init__(
        self,
        *,
        organisation: Path = SHIPPED,
        state_file: Path | None = None,
        call_log: Path | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.records = Records(call_log)
        self.faults = Faults(seed)
        self._organisation = organisation
        self._state_file = state_file
        self.wire = Wire(self.clock, self.faults, self.records, self.store)
        self._seed = seed
        self._begin(settings)

    @property
    def world(self) -> World:
        return self.wire.world

    @property
    def directory(self) -> Directory:
        return self.world.directory

    def edit(self, **fields: Any) -> dict[str, Any]:
        """What POST /_sim/edit does, for tests in the same process."""
        made = apply(self.world, Edit.model_validate(fields), self.clock.now())
        self.store()
        return made

    def fault(self, **fields: Any) -> FaultRule:
        """What POST /_sim/faults does, for tests in the same process."""
        return self.faults.add(FaultRule.model_validate(fields))

    def change_settings(self, **fields: Any) -> Settings:
        """What PUT /_sim/settings does: the given ones change, the others stay."""
        self.world.settings = Settings.model_validate(self.world.settings.model_dump() | fields)
        self.store()
        return self.world.settings

    def assignments(self) -> set[Assignment]:
        """Who has access now, in truth and not as lists show it."""
        if self.world.advance(self.clock.now()):
            self.store()
        return self.world.truth.present

    def reset(self, seed: int | None = None) -> None:
        """Begin again from the organisation file with default settings; the call log's file goes on."""
        self._seed = self._seed if seed is None else seed
        self.faults = self.wire.faults = Faults(self._seed)
        self.records.clear()
        self.wire.world = self._fresh(Settings())
        self.store()

    def store(self) -> None:
        if self._state_file:
            state.store(self._state_file, self.world.snapshot())

    def _begin(self, settings: Settings | None) -> None:
        stored = state.load(self._state_file) if self._state_file else None
        if stored is None:
            self.wire.world = self._fresh(settings or Settings())
        else:
            self.wire.world = restored(stored, seed=self._seed, record=self._record)
            if settings:
                self.world.settings = settings
        self.store()

    def _fresh(self, settings: Settings) -> World:
        directory, standing = load_directory(self._organisation)
        world = World(directory, seed=self._seed, starts=1, record=self._record)
        self.wire.world = world
        world.settings = settings
        now = self.clock.now()
        for assignment in standing:
            world.put_directly(assignment, now=now, cause=STANDING)
        world.advance(now)
        return world

    def _record(self, at: float, event: str, assignment: Assignment, cause: str) -> None:
        self.records.assignment(at, event, assignment, cause, self.directory)
