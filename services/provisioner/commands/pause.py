"""Pausing and resuming grants. Revokes, ends and stops never ask."""

from dataclasses import dataclass

from services.provisioner.domain import pause as domain
from services.provisioner.domain.pause import Pause
from services.provisioner.store import claims, pause
from shared.context import Context
from shared.database.unit_of_work import UnitOfWork
from shared.http.access import Caller


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause that begins, and what it does not touch."""

    pause: Pause
    begun: tuple[str, ...]
    """Grants that AWS is being asked for already: they go to their end."""


async def pause_grants(context: Context, work: UnitOfWork, caller: Caller, *, reason: str) -> Paused:
    """Nothing begins, and no end moves, once this has committed."""
    change = domain.pause(await pause.lock(work.conn), caller.origin(context.clock.now(), reason))
    await pause.save_paused(work, change)
    work.alert(domain.alert(change.state))
    return Paused(change.state, await claims.granting(work.conn))


async def resume_grants(context: Context, work: UnitOfWork, caller: Caller, *, reason: str) -> Pause:
    """The pause that is over; what waited begins within seconds."""
    change = domain.resume(await pause.lock(work.conn), caller.origin(context.clock.now(), reason))
    await pause.save_resumed(work, change)
    work.clear(domain.ALERT)
    work.after_commit(context.nudge)
    return change.state


async def report_pause(work: UnitOfWork) -> None:
    """As loud as long as it lasts."""
    standing = await pause.find(work.conn)
    if standing is None:
        work.clear(domain.ALERT)
    else:
        work.alert(domain.alert(standing))
