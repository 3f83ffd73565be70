"""The lease row: who may call AWS, until when, and the epoch that fences everything the engine writes.

lease.py decides; this file only asks the row, in statements that are each a transaction of their own. The
fence is held with the locks of what is written behind it: assignments.lock_fenced().
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.database.pool import Conn
from shared.foundation.clock import EPOCH
from shared.foundation.errors import Bug

RELEASED: Final = EPOCH
"""The deadline of a lease that its holder let go, or that nobody had yet."""


class LeaseLost(Exception):
    """Another engine may be active: stop, send nothing, write nothing."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The lease as it was read. Each renewal moves the deadline: one that stays shows a silent holder.

    The deadline is by the database's clock and for people; nobody takes the lease because it has passed.
    """

    holder: str
    epoch: int
    deadline: datetime


async def read_lease(conn: Conn) -> LeaseRow:
    row = await conn.fetchrow("SELECT holder, epoch, deadline FROM lease")
    if row is None:
        raise Bug("the row of the lease is missing; this is a bug", code="lease_missing")
    return LeaseRow(row["holder"], row["epoch"], row["deadline"])


async def take_lease(conn: Conn, seen: LeaseRow, *, holder: str, deadline: datetime) -> int | None:
    """Take it as it was seen; the new epoch, or None when it was renewed or taken since."""
    epoch: int | None = await conn.fetchval(
        """
        UPDATE lease SET holder = $1, epoch = epoch + 1, deadline = $2
        WHERE epoch = $3 AND deadline = $4 RETURNING epoch
        """,
        holder,
        deadline,
        seen.epoch,
        seen.deadline,
    )
    return epoch


async def renew_lease(conn: Conn, *, epoch: int, deadline: datetime) -> bool:
    """Move the deadline; False when the lease went to another epoch."""
    status: str = await conn.execute("UPDATE lease SET deadline = $2 WHERE epoch = $1", epoch, deadline)
    return status == "UPDATE 1"


async def release_lease(conn: Conn, *, epoch: int) -> None:
    """Let it go, so that the standby need not wait; nothing happens if it is lost already."""
    await conn.execute("UPDATE lease SET deadline = $2 WHERE epoch = $1", epoch, RELEASED)
