"""The bounds that the invariants are held to, and what each choice of a schedule adds to them.

An end is late by what AWS takes, by what the product may take, and by what a schedule does to both. The
first is in `BASE_S`; a fault says here how much more it excuses. Everything in seconds.
"""

import math
from typing import Final

BASE_S: Final = 12.0
"""From an end to the deletion in truth where nothing goes wrong: a creation in flight (2), a poll (1), an
operation of another person on the account (2), the deletion (2), and as much again for rounds and polls."""
LATE_S: Final = 140.0
"""The objective for revokes (120), and some time to see it."""
LOOK_S: Final = 5.0
"""From a reading to the word about it."""

OFTEN: Final = 8
"""So many times at most the same is asked of AWS in one second; polls for ends come each 0.3 s."""
PATIENCE_S: Final = 30.0
"""An operation older than that may have lost its slot to a deletion that could not wait."""

_ALLOWED: Final = {
    "crash": 30.0,
    "crash_after": 30.0,
    "refused": 12.0,
    "lost": 12.0,
    "after": 2.0,
    "throttled": 25.0,
    "conflict": 25.0,
    "broken": 25.0,
    "cut": 25.0,
    "cut_after": 25.0,
    "forgotten": 25.0,
    "fails": 30.0,
    "half_fails": 30.0,
    "slow": 70.0,
    "endless": math.inf,
    "kill": 30.0,
    "elsewhere": 75.0,
    "step": 30.0,
}
_LENGTHENED: Final = {"hold": 15.0, "freeze": 30.0, "pause": 30.0}
"""As long as it says, and so much more."""


def allowance(choice: str) -> float:
    """By how much a choice may make an end later. Choices that are not here excuse nothing."""
    kind = choice.partition(":")[0]
    if kind in _LENGTHENED:
        return _LENGTHENED[kind] + float(choice.rpartition(":")[2])
    return _ALLOWED.get(kind, 0.0)
