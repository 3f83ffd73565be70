"""How far the database's clock is from AWS's, which states its time in the head of every answer.

Told by `calls`, asked where a claim begins: an end by a wrong clock is a wrong end. Decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from services.provisioner.domain.timing import CLOCKS_APART
from shared.foundation.clock import Clock

HOLDS_FOR: Final = timedelta(seconds=30)
"""A comparison that says no is made again after so long: one in a moment in which this process stood still is
wrong. A claim that begins has just asked AWS."""


@dataclass
class AwsClock:
    """The newest comparison."""

    clock: Clock
    _ahead: timedelta = timedelta(0)
    """How far the database's clock is ahead of AWS's; less than zero where it is behind."""
    _at: datetime | None = None

    def note(self, aws: datetime) -> None:
        """An answer has come that AWS dates so."""
        self._at = self.clock.now()
        self._ahead = self._at - aws

    @property
    def problem(self) -> str | None:
        """Why nothing may begin by our clock; None while it may, or where nothing was heard lately."""
        if self._at is None or self.clock.now() - self._at > HOLDS_FOR:
            return None
        return self.last_problem

    @property
    def last_problem(self) -> str | None:
        """What the last comparison found, however long ago it was."""
        if abs(self._ahead) <= CLOCKS_APART:
            return None
        direction = "ahead of" if self._ahead > timedelta(0) else "behind"
        return f"the database's clock is {abs(self._ahead).total_seconds():.0f} s {direction} AWS's"


def date_of(answer: Mapping[str, Any]) -> datetime | None:
    """AWS's time in an answer or an error; None where it says none that can be read."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        found = parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return found.astimezone(UTC)
