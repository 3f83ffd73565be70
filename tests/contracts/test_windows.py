"""What follows from a window as it was asked for: its length, and what an approval opens of it."""

from datetime import datetime, timedelta

import pytest

from shared.contracts.windows import Window, WindowAsked
from tests.support.harness import NOW

HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
OPEN = WindowAsked(duration=HOUR)
UNTIL = WindowAsked(ends_at=NOW + HOUR)
FIXED = WindowAsked(starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR)
LATER = WindowAsked(starts_at=NOW + HOUR, duration=HOUR)


@pytest.mark.parametrize(
    ("asked", "length"),
    [(OPEN, HOUR), (UNTIL, HOUR), (FIXED, 2 * HOUR), (LATER, HOUR), (WindowAsked(), None)],
)
def test_length_of_an_open_start_counts_from_the_moment(asked: WindowAsked, length: timedelta | None) -> None:
    assert asked.length_from(NOW) == length


@pytest.mark.parametrize(
    ("asked", "approved_at", "opened"),
    [
        (OPEN, NOW, (NOW, NOW + HOUR)),
        (OPEN, NOW + 9 * HOUR, (NOW + 9 * HOUR, NOW + 10 * HOUR)),
        (UNTIL, NOW + HOUR / 2, (NOW + HOUR / 2, NOW + HOUR)),
        (UNTIL, NOW + HOUR, None),
        (FIXED, NOW, (NOW + HOUR, NOW + 3 * HOUR)),
        (FIXED, NOW + 2 * HOUR, (NOW + 2 * HOUR, NOW + 3 * HOUR)),
        (LATER, NOW, (NOW + HOUR, NOW + 2 * HOUR)),
        (LATER, NOW + 2 * HOUR - TICK, (NOW + 2 * HOUR - TICK, NOW + 2 * HOUR)),
        (LATER, NOW + 2 * HOUR, None),
        (WindowAsked(), NOW, None),
    ],
)
def test_window_at_approval_gives_nobody_time_gone_by(
    asked: WindowAsked, approved_at: datetime, opened: tuple[datetime, datetime] | None
) -> None:
    found = asked.window_at(approved_at)
    assert found == (None if opened is None else Window(starts_at=opened[0], ends_at=opened[1]))
