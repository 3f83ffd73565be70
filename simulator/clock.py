"""The simulator's time: epoch seconds from one object, so that tests can pass their own.

Nothing in the simulator sleeps or keeps a timer for AWS's asynchronous work: that moves when it is looked at.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds; never goes back."""
        ...


class SystemClock:
    """The machine's wall clock, kept from going back when the machine's clock is set."""

    def __init__(self) -> None:
        self._latest = 0.0

    def now(self) -> float:
        self._latest = max(self._latest, time.time())
        return self._latest


class ManualClock:
    """A clock that only moves when told to."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not go back: pass the seconds to move forward")
        self._now += seconds
