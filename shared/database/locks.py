"""Locks on names, for what has no row yet that could be locked."""

from dataclasses import dataclass

from shared.database.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class NameLock:
    """One that a unit of work holds."""

    space: int
    name: str


async def lock_name(work: UnitOfWork, name: str, *, space: int) -> None:
    """Hold this name to the end of the unit; asked for once, however many of its commands want it.

    Two names of which one waits for the other are taken in one order by everybody, as rows are.
    """
    held = work.held(NameLock)
    lock = NameLock(space, name)
    if str(lock) not in held:
        await work.conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))", name, space)
        held[str(lock)] = lock
