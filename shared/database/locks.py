"""Locks on names, for what has no row yet that could be locked."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.database.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class NameLock:
    """One that a unit of work holds."""

    space: int
    name: str


async def lock_names(work: UnitOfWork, names: Iterable[str], *, space: int) -> None:
    """Hold these to the end of the unit; each is asked for once, however many of its commands want it.

    They are taken in the order of names by everybody, as rows are.
    """
    held = work.held(NameLock)
    locks = [NameLock(space, name) for name in sorted(set(names))]
    wanted = {str(lock): lock for lock in locks if str(lock) not in held}
    if wanted:
        await work.conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(name, $2)) FROM unnest($1::text[]) AS name",
            [lock.name for lock in wanted.values()],
            space,
        )
        held.update(wanted)
