"""When AWS is asked what became of our operations: soon where that frees slots, else by few calls. Pure.

engine.py asks; what is done with the answers is polling.py's.
"""

from collections import deque
from typing import Final

from services.provisioner.domain.assignments import CallKind

_EVERY_S: Final = (1.0, 2.0)
_FOR_EACH: Final = 2.0
"""So often while one lasts as long as most, within these bounds: its end is seen soon, by few calls."""
_FOR_ENDS_EVERY_S: Final = 0.2
"""While deletions wait for the slots of others: the next end must not wait for a poll."""
_SOONEST: Final = 0.6
"""Of the time that most take: before it none is expected to have ended."""
_SECONDS_AT_FIRST: Final = 4.0
"""What operations are expected to take before any was seen to end. The first to end are the quick ones."""
_REMEMBERED: Final = 20
_COUNT_AT_FIRST: Final = 5
"""As so many of those seen."""


class PollTimes:
    """Remembers how long operations took, and when each kind was asked about; `now` is the event loop's."""

    def __init__(self) -> None:
        self._took: dict[CallKind, deque[float]] = {"create": _expected(), "delete": _expected()}
        self._asked_at: dict[CallKind, float] = {}

    def ended(self, kind: CallKind, seconds: float) -> None:
        """An operation took so long."""
        self._took[kind].append(seconds)

    def seconds_each(self, kind: CallKind) -> float:
        """What an operation takes, by those that ended last."""
        took = self._took[kind]
        return sum(took) / len(took)

    def asked(self, kind: CallKind, now: float) -> None:
        self._asked_at[kind] = now

    def wait_s(self, kind: CallKind, now: float, *, oldest_s: float, ends_wait: bool) -> float:
        """Seconds until the next poll; none is left where it is due.

        `oldest_s` is how long the oldest of those in flight has lasted, below 0 after a step of the clock.
        """
        early_s = _SOONEST * self.seconds_each(kind) - oldest_s if oldest_s >= 0 else 0.0
        asked_at = self._asked_at.get(kind)
        if asked_at is None:
            return max(early_s, 0.0)
        return max(early_s, asked_at + self._every_s(kind, ends_wait=ends_wait) - now, 0.0)

    def _every_s(self, kind: CallKind, *, ends_wait: bool) -> float:
        if kind == "delete" and ends_wait:
            return _FOR_ENDS_EVERY_S
        least, most = _EVERY_S
        return min(max(self.seconds_each(kind) / _FOR_EACH, least), most)


def _expected() -> deque[float]:
    return deque([_SECONDS_AT_FIRST] * _COUNT_AT_FIRST, maxlen=_REMEMBERED)
