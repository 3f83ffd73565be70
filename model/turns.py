"""Who runs next: every task of the system under test stops before each effect, and goes on when it is let.

An event loop in virtual time. While nothing can run, one parked task is given its turn, the oldest first
unless the schedule says otherwise; when none is left, time jumps to the next timer. So a run is a function
of its schedule: nothing depends on how fast the machine or the database is.
"""

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Life:
    """A process from its start to its death; the next of that name is another."""

    name: str
    number: int = 0

    def __str__(self) -> str:
        return self.name


ENVIRONMENT = Life("world")
"""Who parks where no process of the system under test does: what is around it."""
PROCESS: ContextVar[Life] = ContextVar("process", default=ENVIRONMENT)
ABOUT: ContextVar[str] = ContextVar("about", default="")
"""What a task works on, where its places are better named after that than after the code that stops."""
SPINS = 400
"""Turns of a process at one moment, from which on it is said to spin."""
_A_MOMENT_S = 0.001
LONGEST_ANSWER_S = 30.0
"""Real seconds the database may take; beyond, the run is broken."""

_COMPUTING_S = 1e-7
"""Each round of the loop takes so long. Else what waits for the rest of a nanosecond would wait for ever."""
_ROUNDS_AT_ONCE = 100
"""While the database is waited for rounds take no time, since an answer may come in several pieces; but for
what would wait for ever."""


class Killed(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches a kill."""


class Stuck(Exception):
    """Nothing can run and no timer is set: this is a bug of the checker or of what it runs."""


@dataclass(frozen=True, slots=True)
class Place:
    """A choice: the `nth` time something stopped at `at`, and what could be done about it there."""

    at: str
    nth: int
    options: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Parked:
    who: Life
    at: str
    turn: asyncio.Future[str | None]
    verdict: str | None = None
    until: float = 0.0
    """Held back until this moment."""
    last: bool = False
    """Goes when nobody else can."""
    place: Place | None = None
    met: bool = False
    """It was seen whether anybody else could go first."""


Taken = tuple[str, int, str]
"""A choice with its place: at, the how many-th time, what."""
Choose = Callable[[Place], str | None]
"""What is done at a place; None lets it take its usual way."""


def usual(_place: Place) -> None:
    """The schedule in which nothing goes wrong."""


def seconds_in(choice: str) -> float:
    """The number behind the colon of `hold:20`."""
    return float(choice.partition(":")[2] or 0)


@dataclass
class Turns:
    """`choose` is asked at each place, once."""

    choose: Choose = usual
    time: float = 0.0
    """Seconds of the run."""
    kill: Callable[[Life], None] = lambda _who: None
    on_turn: Callable[[], None] = lambda: None
    on_spin: Callable[[Life], None] = lambda _who: None
    """Told of a process that does not let time pass."""
    places: list[Place] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    needless: dict[Taken, Taken | None] = field(default_factory=dict)
    """Choices that are the same as one at an earlier place, which is said; None: as none at all."""
    parked: list[Parked] = field(default_factory=list)
    dead: set[Life] = field(default_factory=set)
    frozen: dict[str, float] = field(default_factory=dict)
    exclusive: Life | None = None
    """Who has a transaction open: nobody else runs meanwhile."""
    _met: Counter[str] = field(default_factory=Counter)
    _busy: int = 0
    _effects: int = 0
    _given: Counter[Life] = field(default_factory=Counter)
    _deaths: dict[tuple[Life, float, int, int], Taken] = field(default_factory=dict)
    _moment: float = -1.0
    _at_once: Counter[Life] = field(default_factory=Counter)

    def begin(self, choose: Choose) -> None:
        assert not self.parked, f"left behind: {[one.at for one in self.parked]}"
        self.choose = choose
        self.places, self.taken, self.needless = [], [], {}
        self._effects, self._given, self._deaths = 0, Counter(), {}
        self.dead, self.frozen, self.exclusive = set(), {}, None
        self._moment, self._at_once = -1.0, Counter()
        self._met = Counter()

    async def park(self, at: str, *options: str) -> str | None:
        """Stop here until it is one's turn; the choice that is the caller's to carry out, if any."""
        who = PROCESS.get()
        if who in self.dead:
            raise Killed(at)
        place = self._meet(at, options)
        choice = self._chosen(place)
        entry = Parked(who, at, asyncio.get_running_loop().create_future(), place=place)
        match (choice or "").partition(":")[0]:
            case "hold":
                entry.until = self.time + seconds_in(choice or "")
            case "after":
                entry.last = True
            case "freeze":
                self.frozen[who.name] = self.time + seconds_in(choice or "")
            case _:
                entry.verdict = choice
        self.parked.append(entry)
        try:
            return await entry.turn
        finally:
            if entry in self.parked:  # it was cancelled
                self.parked.remove(entry)

    def decide(self, at: str, *options: str) -> str | None:
        """The schedule's choice at this place, without stopping."""
        place = self._meet(at, options)
        self._note_death(PROCESS.get(), place)
        return self._chosen(place)

    def _meet(self, at: str, options: tuple[str, ...]) -> Place | None:
        if not options:
            return None
        self._met[at] += 1
        place = Place(at, self._met[at], options)
        self.places.append(place)
        return place

    def _chosen(self, place: Place | None) -> str | None:
        choice = None if place is None else self.choose(place)
        if place is not None and choice is not None:
            self.taken.append((place.at, place.nth, choice))
        return choice

    def note_effect(self) -> None:
        """Something happens that outlives its process: a row is written, AWS is asked for a change."""
        self._effects += 1

    def _note_death(self, who: Life, place: Place | None) -> None:
        """To die here is to have died at an earlier place, where nothing came of what was done since."""
        if place is None or "crash" not in place.options:
            return
        others = self._given.total() - self._given[who]
        death, crash = (who, round(self.time, 3), self._effects, others), (place.at, place.nth, "crash")
        if (same := self._deaths.setdefault(death, crash)) != crash:
            self.needless[crash] = same

    @contextmanager
    def io(self) -> Iterator[None]:
        """While the machine itself is waited for: time stands still and nobody else gets a turn."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    @property
    def busy(self) -> bool:
        return self._busy > 0

    def idle(self, timeout: float | None) -> None:
        """Nothing can run: give a turn, or let time pass."""
        if self.exclusive:
            raise Stuck(f"a transaction of {self.exclusive} waits for something else than the database")
        self.on_turn()
        entry = self._next()
        if entry is not None:
            self._count(entry.who)
            self._give(entry)
            return
        waits = [one.until - self.time for one in self.parked if one.until > self.time]
        waits += [until - self.time for until in self.frozen.values() if until > self.time]
        if timeout is not None:
            waits.append(timeout)
        if not waits:
            raise Stuck(f"at {[one.at for one in self.parked]}")
        self.time += max(min(waits), 0.0)

    def _count(self, who: Life) -> None:
        """Turns of one process at one moment."""
        if self.time > self._moment + _A_MOMENT_S:
            self._moment, self._at_once = self.time, Counter()
        self._at_once[who] += 1
        if self._at_once[who] == SPINS:
            self.on_spin(who)

    def _next(self) -> Parked | None:
        free = [
            one
            for one in self.parked
            if one.until <= self.time and self.frozen.get(one.who.name, 0.0) <= self.time
        ]
        for one in free:
            if one.place is not None and not one.met and len(free) == 1:
                self.needless[one.place.at, one.place.nth, "after"] = None
            one.met = True
        return min(free, key=lambda one: one.last, default=None)

    def _give(self, entry: Parked) -> None:
        if entry.who in self.dead or entry not in self.parked:
            return
        self._note_death(entry.who, entry.place)
        self._given[entry.who] += 1
        if entry.verdict is not None and entry.verdict.startswith("crash"):
            self.kill(entry.who)
            return
        self.parked.remove(entry)
        if not entry.turn.done():
            entry.turn.set_result(entry.verdict)

    def bury(self, who: Life) -> None:
        """What is parked of this process dies now, and whatever of it still moves dies at its next stop."""
        self.dead.add(who)
        self.frozen.pop(who.name, None)
        for entry in [one for one in self.parked if one.who == who]:
            self.parked.remove(entry)
            if not entry.turn.done():
                entry.turn.set_exception(Killed(entry.at))


class _Selector(selectors.DefaultSelector):
    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self._rounds = 0
        """In which somebody could run, one after the other."""

    def select(self, timeout: float | None = None) -> list[Any]:
        self._rounds = self._rounds + 1 if timeout == 0 else 0
        if self._turns.busy and timeout != 0:
            return self._answers()
        if not self._turns.busy or self._rounds > _ROUNDS_AT_ONCE:
            self._turns.time += _COMPUTING_S
        if timeout != 0:
            self._turns.idle(timeout)
        return []

    def _answers(self) -> list[Any]:
        """Of the database, once nobody else can run, however quick it was; no time passes."""
        found = super().select(LONGEST_ANSWER_S) or super().select(0)  # the machine may have slept
        if not found:
            raise Stuck("the database does not answer")
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop with another clock, and with somebody to ask when it would wait."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        super().__init__(_Selector(turns))
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._turns.time

    def begin_anew(self) -> None:
        """Time is 0 again, so that sums of it are the same bit by bit in each run. No old timer may ring."""
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        timers.clear()
        self._timer_cancelled_count = 0
        self._turns.time = 0.0
