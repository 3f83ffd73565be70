"""What every domain answers: the state after a step, the events of it in order, and the alerts.

Pure values. A command hands a `Change` to its store's `save`, which writes the rows and appends the events;
alerts follow the commit (shared/database/unit_of_work.py).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from shared.contracts.event import Actor, Event

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who did it, when, what it followed from and why: the part of every event that is not its content."""

    actor: Actor
    at: datetime
    """By the database's clock."""
    cause: str | None = None
    """Id of the event or of the HTTP request that led to it."""
    why: str = ""

    def because(self, why: str) -> "Origin":
        """The same origin with another reason."""
        return replace(self, why=why)

    def by(self, actor: Actor) -> "Origin":
        """The same moment and cause, done by somebody else."""
        return replace(self, actor=actor)

    def fields(self) -> dict[str, Any]:
        """As the fields of an event."""
        return {"actor": self.actor, "at": self.at, "cause": self.cause, "why": self.why}


@dataclass(frozen=True, slots=True)
class Alert:
    """What somebody who operates JIT has to know. `once`: it happened, and nothing clears it."""

    key: str
    """Begins with the word under which docs/runbook.md explains it."""
    summary: str
    detail: str
    once: bool = True


@dataclass(frozen=True, slots=True)
class Change(Generic[StateT]):
    """A step that was decided: nothing of it holds before it is saved."""

    state: StateT
    events: tuple[Event, ...] = ()
    alerts: tuple[Alert, ...] = ()

    def then(self, following: "Change[StateT]") -> "Change[StateT]":
        """Both steps in one: `following` was decided on the state of this one."""
        return Change(following.state, self.events + following.events, self.alerts + following.alerts)
