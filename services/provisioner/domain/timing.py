"""The numbers decisions are made with: how often, how long, how late. settings.py fills them in."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

CLOCKS_APART: Final = timedelta(seconds=60)
"""Nothing begins while the database's clock and AWS's are further apart. AWS states whole seconds, and an
answer may be 13 s on its way."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How the engine paces its looks and its calls."""

    settle_checks: int = 3
    settle_time: timedelta = timedelta(seconds=20)
    visible_within: timedelta = timedelta(seconds=30)
    attempts: int = 5
    operation_patience: timedelta = timedelta(minutes=5)
    operation_longest: timedelta = timedelta(minutes=10)
    """From its call on: what nobody can follow cannot come true any more after it."""
    listed_within: timedelta = timedelta(seconds=5)
    """From its call on: AWS's records of operations may be so late."""
    poll_every: timedelta = timedelta(seconds=1)
    policy_retry: timedelta = timedelta(seconds=2)
    hold_retry: timedelta = timedelta(seconds=10)
    """How often a grant that is held (a pause, clocks apart) looks again: people end such a hold."""
    back_off_first: timedelta = timedelta(seconds=1)
    back_off_longest: timedelta = timedelta(seconds=20)
    relist_after: tuple[timedelta, ...] = tuple(timedelta(minutes=m) for m in (1, 3, 7, 15))

    @property
    def between_checks(self) -> timedelta:
        return self.settle_time / max(1, self.settle_checks - 1)

    def back_off(self, attempt: int, jitter: float) -> timedelta:
        """Doubles with each attempt up to the longest; `jitter` in 0..1 takes off up to half of it."""
        longest: timedelta = min(self.back_off_first * 2 ** min(attempt, 10), self.back_off_longest)
        return longest * (1 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Objectives:
    """How long a missing witness is waited for, and after what time a revoke is called late."""

    witness_wait: timedelta = timedelta(seconds=60)
    revoke_objective: timedelta = timedelta(minutes=2)
