"""What the judge keeps of a grant, and what it says of a run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from simulator.model import Assignment

FINAL: Final = frozenset({"revoked", "released", "failed"})


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    what: str


@dataclass
class Watched:
    """One grant, as its facts tell of it."""

    name: str
    key: Assignment
    submitted_at: datetime
    ends_at: datetime
    state: str = "unknown"
    asked: bool = False
    stopped: bool = False
    due_since: float | None = None
    """Turns' time of its revoke_due."""

    def holds(self, now: datetime) -> bool:
        return self.state in {"granting", "granted"} and not self.stopped and now < self.ends_at
