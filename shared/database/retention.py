"""Forgets rows past their retention, by rules that stand beside each store; docs/retention.md lists them.

A task of its own on the pool, in batches that commit one by one: neither the relay nor a command waits for
it. Started by shared/runtime/service.py in every replica; two may meet, and a row is gone once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.database.pool import Pool
from shared.foundation.clock import Clock

EVERY_S: Final = 3600.0
BATCH: Final = 5000
"""Rows a statement: well under a second, so that no lock of its is noticed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When rows of a table are forgotten.

    The statement deletes at most $2 rows whose time was over before $1, and never one that something still
    needs, however old it is.
    """

    table: str
    keep: timedelta
    statement: str
    batch: int = BATCH
    """Fewer where a row takes others with it."""
    given: tuple[str, ...] = ()
    """What the statement takes from $3 on."""


async def forget_for_ever(pool: Pool, clock: Clock, rules: Sequence[Rule]) -> None:
    """At the start and every hour; ends only by cancellation."""
    while True:
        await purge(pool, rules, now=clock.now())
        await asyncio.sleep(EVERY_S)


async def purge(pool: Pool, rules: Sequence[Rule], *, now: datetime, batch: int | None = None) -> int:
    """Forget by these rules, in their order, and say how many rows."""
    total = 0
    for rule in rules:
        total += await _forget(pool, rule if batch is None else replace(rule, batch=batch), now - rule.keep)
    return total


async def _forget(pool: Pool, rule: Rule, before: datetime) -> int:
    """Batch after batch until one is not full."""
    total = 0
    while True:
        status = await pool.execute(rule.statement, before, rule.batch, *rule.given)
        deleted = int(status.rsplit(" ", 1)[-1])
        total += deleted
        if deleted < rule.batch:
            return total
