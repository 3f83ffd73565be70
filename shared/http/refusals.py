"""Refusals of a right as facts: the first at once, those like it counted and told once a minute.

So a script that is refused a thousand times makes a few facts and not a thousand, and who watches the log
still sees the first one at once. Alike are refusals of one person, with one code, about one thing.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi import Request

from shared.context import Context
from shared.contracts.configuration import AuthzDenied
from shared.contracts.event import Actor
from shared.foundation.errors import JitError
from shared.observability.logs import logger

TOLD_EVERY: Final = timedelta(minutes=1)
MOST_OF_ONE: Final = 20
"""Different things that one person is refused at a time and that have facts of their own. The others are told
together, by their code alone."""
MOST_OF_ALL: Final = 10_000
"""The same for all people together; some 20 MB."""
MANY: Final = "several"
"""The verb of a fact about refusals that were too different to be told one by one."""
LOOK_EVERY_S: Final = 5.0

log = logger("refusals")

_Key = tuple[str | None, ...]


@dataclass
class _Told:
    """What was told about last at that time, and what was refused since, as one fact."""

    at: datetime
    repeats: AuthzDenied | None = None


class Refusals:
    """Which refusals of this process were told lately, and how often each came again."""

    def __init__(self, *, most_of_one: int = MOST_OF_ONE, most_of_all: int = MOST_OF_ALL) -> None:
        self._most_of_one = most_of_one
        self._most_of_all = most_of_all
        self._told: dict[_Key, _Told] = {}
        self._of_one: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return len(self._told)

    def note(self, refused: AuthzDenied) -> AuthzDenied | None:
        """What to tell now; None for one that is counted and told within a minute."""
        refused = self._within_bounds(refused)
        key = _key(refused)
        if (told := self._told.get(key)) is not None:
            told.repeats = _together(told.repeats, refused)
            return None
        self._begin(key, refused.at)
        return refused

    def due(self, now: datetime) -> list[AuthzDenied]:
        """What came again and was told about a minute ago; what did not come again is forgotten."""
        return self._take([key for key, told in self._told.items() if now - told.at >= TOLD_EVERY], now)

    def rest(self, now: datetime) -> list[AuthzDenied]:
        """All that came again and was not told, however short ago."""
        return self._take(list(self._told), now)

    def count_again(self, facts: Iterable[AuthzDenied]) -> None:
        """These could not be recorded after all: they are told with the next of their kind."""
        for fact in facts:
            key = _key(fact)
            told = self._told.get(key) or self._begin(key, fact.at)
            told.repeats = _together(fact, told.repeats)

    def _begin(self, key: _Key, at: datetime) -> _Told:
        self._of_one[key[0]] += 1
        self._told[key] = _Told(at)
        return self._told[key]

    def _take(self, keys: Sequence[_Key], now: datetime) -> list[AuthzDenied]:
        facts = []
        for key in keys:
            if (repeats := self._told[key].repeats) is None:
                self._end(key)
            else:
                facts.append(repeats)
                self._told[key] = _Told(now)
        return facts

    def _end(self, key: _Key) -> None:
        del self._told[key]
        self._of_one[key[0]] -= 1
        if not self._of_one[key[0]]:
            del self._of_one[key[0]]

    def _within_bounds(self, refused: AuthzDenied) -> AuthzDenied:
        """The refusal as it is; where there are too many, as one about nothing in particular."""
        if _key(refused) in self._told:
            return refused
        person = refused.actor.user_id
        if self._of_one[person] < self._most_of_one and len(self._told) < self._most_of_all:
            return refused
        return refused.model_copy(
            update={"subject": person or "", "verb": MANY, "object_id": None, "rules": ()}
        )


def _key(refused: AuthzDenied) -> _Key:
    """The right is part of what was refused: an administrator's verbs have no other object."""
    return (refused.actor.user_id, refused.code, refused.verb, refused.subject, refused.object_id)


def _together(before: AuthzDenied | None, after: AuthzDenied | None) -> AuthzDenied | None:
    """One fact about both, with the route and the cause of the later one."""
    if before is None or after is None:
        return before or after
    return after.model_copy(update={"count": before.count + after.count, "since": before.since or before.at})


async def record_refusal(context: Context, refusals: Refusals, request: Request, error: JitError) -> None:
    """Make a refusal a fact, or count it; the refusal stands whatever becomes of it."""
    actor: Actor | None = getattr(request.state, "actor", None)
    if error.denied is None or actor is None:
        return
    fact = AuthzDenied(
        subject=error.denied.subject,
        actor=actor,
        why=error.detail,
        cause=str(request.state.request_id),
        at=context.clock.now(),
        verb=error.denied.verb,
        code=error.code,
        rules=error.denied.rules,
        route=f"{request.method} {request.url.path}",
        object_id=error.denied.object_id,
    )
    if (told := refusals.note(fact)) is not None:
        await _record(context, refusals, [told])


async def keep_recording(context: Context, refusals: Refusals) -> None:
    """Record what was counted, a minute after it was told last, for ever."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await record_due(context, refusals)


async def record_due(context: Context, refusals: Refusals) -> None:
    await _record(context, refusals, refusals.due(context.clock.now()))


async def record_rest(context: Context, refusals: Refusals) -> None:
    """Record what was counted so far, before the service stops."""
    await _record(context, refusals, refusals.rest(context.clock.now()))


async def _record(context: Context, refusals: Refusals, facts: Sequence[AuthzDenied]) -> None:
    if not facts:
        return
    try:
        async with context.unit_of_work() as work:
            for fact in facts:
                context.record(work, fact)
    except Exception:
        refusals.count_again(facts)
        log.exception("refusals could not be recorded and are told later", facts=len(facts))
