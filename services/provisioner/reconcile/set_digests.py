"""What permission sets allow, read from AWS right before access is given by them, once for a burst."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

FRESH_FOR: Final = timedelta(seconds=60)
"""Six calls tell a digest. A set that is edited in the minute between may be given as it was approved."""


@dataclass(slots=True)
class _Known:
    """What was read of one set, and when. Who comes while it is being read waits for that."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    digest: str | None = None
    read_at: datetime | None = None


class SetDigests:
    """Reads through `read_of_aws`, which answers None for a set that does not exist."""

    def __init__(self, read_of_aws: Callable[[str], Awaitable[str | None]]) -> None:
        self._read_of_aws = read_of_aws
        self._known: dict[str, _Known] = {}

    async def read(self, set_arn: str, *, now: datetime) -> str | None:
        """At most `FRESH_FOR` old. Raises what reading raises, and remembers nothing then."""
        known = self._known.setdefault(set_arn, _Known())
        async with known.turn:
            if known.read_at is None or not timedelta(0) <= now - known.read_at < FRESH_FOR:
                known.digest = await self._read_of_aws(set_arn)
                known.read_at = now
            return known.digest
