"""Which schedules are tried: every single choice in a small world, seeded ones in large worlds.

And how a schedule that fails is made small.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from model.bounds import allowance
from model.run import Run, Schedule, Stage
from model.turns import Place
from model.watcher import Seen
from model.worlds import SMALL, World, random_world

Single = tuple[tuple[str, int], str]
"""A place and what is done there."""
CHOICES_AT_ONCE: Final = (1, 2, 2, 3, 4, 6)
"""How many things go wrong in a random schedule."""
_CHANGES: Final = ("CreateAccountAssignment", "DeleteAccountAssignment")
"""What goes wrong at these is tried first: most of what is found is found there."""
PLACES_OF_A_RUN: Final = 900
"""About as many a large world has; only the likelihood of a choice depends on it."""


class Seeded:
    """Chooses as it is asked, so that a run needs no earlier one to know its places."""

    def __init__(self, seed: int) -> None:
        self._chosen = random.Random(f"schedule/{seed}")
        self._left = self._chosen.choice(CHOICES_AT_ONCE)
        self._likely = 1.5 * self._left / PLACES_OF_A_RUN

    def __call__(self, place: Place) -> str | None:
        if self._left == 0 or self._chosen.random() > self._likely:
            return None
        self._left -= 1
        return self._chosen.choice(place.options)


@dataclass
class Walk:
    """What was tried of one world."""

    world: str
    schedules: int = 0
    merged: int = 0
    """Of these, runs that came to a state that was seen before, and ended there."""
    violations: int = 0
    states: set[bytes] = field(default_factory=set)
    failures: dict[str, tuple[str, Schedule, str]] = field(default_factory=dict)
    """The smallest schedule that breaks a rule, by rule: its world, itself, and what was seen."""
    cut_short: bool = False
    """There was no time for all of it."""
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def take(self, world: World, run: Run) -> None:
        self.schedules += 1
        self.merged += run.merged
        self.states |= run.states
        self.violations += bool(run.violations)
        for one in run.violations:
            self._note(one.rule, (world.name, run.schedule, one.what))

    def _note(self, rule: str, found: tuple[str, Schedule, str]) -> None:
        known = self.failures.get(rule)
        if known is None or len(found[1]) < len(known[1]):
            self.failures[rule] = found

    def end(self) -> None:
        self.seconds = time.monotonic() - self.began

    def line(self) -> dict[str, Any]:
        """What is printed of it."""
        return {
            "world": self.world,
            "schedules": self.schedules,
            "states": len(self.states),
            "merged": self.merged,
            "violations": self.violations,
            "whole": not self.cut_short,
            "seconds": round(self.seconds, 1),
        }

    @classmethod
    def joined(cls, parts: Iterable[Callable[[], "Walk"]]) -> "Walk":
        """What several processes found, once all of them have."""
        waited = [part() for part in list(parts)]
        whole = cls(waited[0].world)
        for part in waited:
            whole.schedules += part.schedules
            whole.merged += part.merged
            whole.violations += part.violations
            whole.states |= part.states
            whole.cut_short |= part.cut_short
            whole.seconds = max(whole.seconds, part.seconds)
            for rule, found in part.failures.items():
                whole._note(rule, found)
        return whole


def every_choice(
    stage: Stage, world: World, *, part: int = 0, parts: int = 1, first: tuple[str, ...] | None = None
) -> Iterator[Run]:
    """The usual way, and each of its places with each of its choices; every `parts`th of them.

    With `first` in the order that finds a mistake soon, these choices before others.
    """
    seen: Seen = {}
    usual = stage.play(world, {}, seen=seen)
    if part == 0:
        yield usual
    rank = _excused if first is None else partial(_promising, first)
    for (at, nth), option in sorted(_single(usual), key=rank)[part::parts]:
        yield stage.play(world, {(at, nth): option}, seen=seen)


def _single(usual: Run) -> list[Single]:
    """Each choice of each place, but for those that are known to be the same as others or as none."""
    return [
        ((place.at, place.nth), option)
        for place in usual.places
        for option in place.options
        if (place.at, place.nth, option) not in usual.needless
    ]


def _excused(single: Single) -> float:
    """Who is excused more may end in a state that others have passed, and not the other way round."""
    return allowance(single[1])


def _promising(first: tuple[str, ...], single: Single) -> tuple[bool, bool]:
    (at, _), choice = single
    return choice not in first, not at.partition(" ")[2].startswith(_CHANGES)


def pairs_of_choices(stage: Stage, world: World, seed: int) -> Iterator[Run]:
    """Two choices, drawn without end: the second among the places that the first leads to."""
    chosen = random.Random(f"pairs/{world.name}/{seed}")
    usual = stage.play(world, {})
    while True:
        first = chosen.choice(usual.places)
        schedule = {(first.at, first.nth): chosen.choice(first.options)}
        led = stage.play(world, schedule)
        later = led.places[_index(led, first) + 1 :]
        for second in chosen.sample(later, min(4, len(later))):
            yield stage.play(world, schedule | {(second.at, second.nth): chosen.choice(second.options)})


def _index(run: Run, place: Place) -> int:
    return next(n for n, one in enumerate(run.places) if (one.at, one.nth) == (place.at, place.nth))


def at_random(stage: Stage, seeds: Iterator[int]) -> Iterator[tuple[World, Run]]:
    """A large world and a schedule for each seed."""
    for seed in seeds:
        world = random_world(seed)
        yield world, stage.explore(world, Seeded(seed))


def minimal(stage: Stage, world: World, schedule: Schedule, rule: str) -> dict[tuple[str, int], str]:
    """The schedule without every choice that the failure does not need."""
    kept = dict(schedule)
    for key in list(kept):
        fewer = {other: choice for other, choice in kept.items() if other != key}
        if any(one.rule == rule for one in stage.play(world, fewer).violations):
            kept = fewer
    return kept


def worlds() -> tuple[str, ...]:
    return tuple(SMALL)
