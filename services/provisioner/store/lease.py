"""The lease row: who may call AWS, until when, and the epoch that fences everything the engine writes.

`now` is the database's clock, passed in as everywhere. lease.py decides; this file only asks the row. The
fence is held with the locks of what is written behind it: assignments.lock_fenced().
"""

from datetime import datetime

from shared.database.pool import Conn


class LeaseLost(Exception):
    """Another engine may be active: stop, send nothing, write nothing."""


async def take_lease(
    conn: Conn, *, holder: str, now: datetime, deadline: datetime, from_predecessor: bool
) -> int | None:
    """Take a lease that has run out; the new epoch, or None when somebody has it.

    `from_predecessor`: also before it runs out, if it is in our own name: a process that starts knows that
    its predecessor of the same name is gone.
    """
    epoch: int | None = await conn.fetchval(
        """
        UPDATE lease SET holder = $1, epoch = epoch + 1, deadline = $3
        WHERE deadline <= $2 OR ($4 AND holder = $1) RETURNING epoch
        """,
        holder,
        now,
        deadline,
        from_predecessor,
    )
    return epoch


async def renew_lease(conn: Conn, *, epoch: int, deadline: datetime) -> bool:
    """Move the deadline; False when the lease went to another epoch."""
    status: str = await conn.execute("UPDATE lease SET deadline = $2 WHERE epoch = $1", epoch, deadline)
    return status == "UPDATE 1"


async def release_lease(conn: Conn, *, epoch: int, now: datetime) -> None:
    """Let it go, so that the standby need not wait; nothing happens if it is lost already."""
    await conn.execute("UPDATE lease SET deadline = $2 WHERE epoch = $1 AND deadline > $2", epoch, now)
