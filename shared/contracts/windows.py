"""From when until when access is asked for, and given: `starts_at <= t < ends_at`."""

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime

from shared.contracts.event import Contract

LONGEST_WINDOW: Final = timedelta(days=366)
"""Nobody may ask for more at once, whatever a scope says."""
LONGEST_LEAD: Final = timedelta(days=366)
"""Nobody may ask for a start further ahead, nor wait longer for an answer, whatever the settings say."""


class Window(Contract):
    """A window as approved: `starts_at <= t < ends_at`."""

    starts_at: AwareDatetime
    ends_at: AwareDatetime

    @property
    def length(self) -> timedelta:
        return self.ends_at - self.starts_at

    def holds(self, moment: datetime) -> bool:
        return self.starts_at <= moment < self.ends_at


class WindowAsked(Contract):
    """As asked for: an open start means "when approved"; exactly one of end and duration is given."""

    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    duration: timedelta | None = None

    def length_from(self, moment: datetime) -> timedelta | None:
        """How long access lasts if it is approved at `moment`; None when neither end nor duration is given.

        Approval rules are asked for the length from the submit on.
        """
        if self.duration is not None:
            return self.duration
        if self.ends_at is not None:
            return self.ends_at - (self.starts_at or moment)
        return None

    def window_at(self, approved_at: datetime) -> Window | None:
        """The window that an approval at this moment opens; None when nothing of it is left.

        A start in the past begins now: nobody gets access for time gone by, and the end stays.
        """
        start = approved_at if self.starts_at is None else max(self.starts_at, approved_at)
        end = self.ends_at
        if end is None:
            if self.duration is None:
                return None
            end = (self.starts_at or approved_at) + self.duration
        return Window(starts_at=start, ends_at=end) if end > start else None
