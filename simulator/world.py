"""The whole simulated AWS at one moment: organisation, assignments, asynchronous requests, limits.

Pure: no network, no files, no clock. The operation modules read and change it; `state` stores its snapshot.
"""

import random
from collections.abc import Sequence

from pydantic import BaseModel, Field

from simulator.asynchronous import AsyncRequest, AsyncRequests, new_uuid
from simulator.directory import Directory
from simulator.limits import RateLimits
from simulator.model import Assignment, Role
from simulator.settings import Settings
from simulator.truth import PendingView, Recorder, Truth

STANDING, FOREIGN = "standing", "foreign"


class Snapshot(BaseModel):
    """Everything that survives a restart. `starts` keeps random ids from repeating after one."""

    starts: int
    directory: Directory
    settings: Settings
    assignments: list[Assignment]
    visible: list[Assignment]
    pending: list[PendingView]
    roles: list[Role]
    requests: list[AsyncRequest] = Field(default_factory=list)


class World:
    def __init__(self, directory: Directory, *, seed: int, starts: int, record: Recorder) -> None:
        self.directory = directory
        self.starts = starts
        self.rng = random.Random(f"{seed}/{starts}")  # noqa: S311 - a run must be repeatable
        self.truth = Truth(self.rng, record)
        self.requests = AsyncRequests(directory, self.truth, self.rng)
        self.limits = RateLimits()

    @property
    def settings(self) -> Settings:
        return self.requests.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.requests.settings = settings

    def advance(self, now: float) -> bool:
        """Bring the world to `now`; whoever reads or changes it does this first. True: something ended."""
        self.truth.shown(now)
        return self.requests.advance(now)

    def put_directly(self, assignment: Assignment, *, now: float, cause: str) -> None:
        """Make an assignment behind the API's back, as a person in the console does."""
        revision = self.directory.permission_sets[assignment.permission_set].revision
        lag = 0.0 if cause == STANDING else self.settings.list_lag_seconds
        self.truth.appear(assignment, at=now, cause=cause, revision=revision, lag=lag)

    def take_directly(self, assignment: Assignment, *, now: float) -> None:
        self.truth.disappear(assignment, at=now, cause=FOREIGN, lag=self.settings.list_lag_seconds)

    def new_id(self) -> str:
        """An id in the identity store's form."""
        return f"{self.rng.getrandbits(40):010x}-{new_uuid(self.rng)}"

    def snapshot(self) -> Snapshot:
        return Snapshot(
            starts=self.starts,
            directory=self.directory,
            settings=self.settings,
            assignments=_sorted(self.truth.present),
            visible=_sorted(self.truth.visible),
            pending=self.truth.pending,
            roles=list(self.truth.roles.values()),
            requests=list(self.requests.all.values()),
        )


def restored(snapshot: Snapshot, *, seed: int, record: Recorder) -> World:
    """The world as it was left; requests that ended meanwhile end at their time when it is next looked at."""
    world = World(snapshot.directory, seed=seed, starts=snapshot.starts + 1, record=record)
    world.settings = snapshot.settings
    world.truth.present = set(snapshot.assignments)
    world.truth.visible = set(snapshot.visible)
    world.truth.pending = list(snapshot.pending)
    world.truth.roles = {(role.account, role.permission_set): role for role in snapshot.roles}
    world.requests.restore(snapshot.requests)
    return world


def _sorted(assignments: set[Assignment]) -> Sequence[Assignment]:
    return sorted(assignments, key=lambda row: tuple(row.model_dump().values()))
