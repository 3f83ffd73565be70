"""The pause of grants: nothing begins and no end moves; what takes access away goes on. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.contracts.change import Alert, Change, Origin
from shared.contracts.configuration import SUBJECT_OF_PAUSES, GrantsPaused, GrantsResumed
from shared.contracts.event import Actor
from shared.foundation.errors import Conflict

ALERT: Final = "grants_paused"


@dataclass(frozen=True, slots=True)
class Pause:
    """One that stands."""

    since: datetime
    actor: Actor
    why: str

    @property
    def told(self) -> str:
        """For operators. The reason is theirs, and not repeated to everybody who waits."""
        return f"grants are paused since {self.since:%Y-%m-%d %H:%M:%SZ} by {self.actor.name}"


def pause(standing: Pause | None, origin: Origin) -> Change[Pause]:
    """A second pause is refused: whoever lifts one must know whose it is."""
    if standing is not None:
        raise Conflict(f"{standing.told} already: {standing.why}", code="grants_paused")
    return Change(Pause(origin.at, origin.actor, origin.why), (GrantsPaused(**_said(origin)),))


def resume(standing: Pause | None, origin: Origin) -> Change[Pause]:
    """The pause in the answer is over."""
    if standing is None:
        raise Conflict("grants are not paused", code="grants_not_paused")
    said = GrantsResumed(
        **_said(origin), paused_at=standing.since, paused_by=standing.actor, paused_why=standing.why
    )
    return Change(standing, (said,))


def alert(standing: Pause) -> Alert:
    """Stands as long as the pause: one that is forgotten keeps people out for ever."""
    return Alert(
        key="grants_paused",
        summary="grants are paused: nobody is given access, and no end moves",
        detail=f"{standing.told}: {standing.why}",
        once=False,
    )


def _said(origin: Origin) -> dict[str, Any]:
    return {"subject": SUBJECT_OF_PAUSES, **origin.fields()}
