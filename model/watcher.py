"""Listens to a run: what each commit says goes to the judge, and states that were passed end it early.

It reads the database on the checker's behalf and changes nothing.
"""

import math
from typing import Final

from model.scene import Scene
from model.state import ROWS, state_of

Seen = dict[bytes, float]
"""States from which nothing goes wrong, with what was excused until then: who is excused less goes on."""
_FACTS: Final = """
    SELECT id, type, payload FROM outbox WHERE id > $1 AND type LIKE 'access.%' ORDER BY id
"""


class Watcher:
    """Reads what each commit said, and which states are passed."""

    def __init__(self, scene: Scene, seen: Seen | None, choices: int | None) -> None:
        self._scene = scene
        self._seen = seen
        self._choices = choices
        self._last = 0
        self.states: dict[bytes, float] = {}
        self.merged = False
        self.failure: Exception | None = None
        """Of ours: the product would only log it."""

    @property
    def may_merge(self) -> bool:
        """Nothing more will be chosen in this run: from here on it may go as an earlier one did."""
        return self._seen is not None and len(self._scene.turns.taken) == self._choices

    async def note(self, *, may_merge: bool) -> None:
        """The state at this moment, and whether what comes from here is known already. In one's turn."""
        with self._scene.turns.io():
            rows = await self._scene.pool.inner.fetchrow(ROWS)
        state, slack = state_of(self._scene, rows), self._scene.judge.slack_s
        self.states[state] = slack
        known = (self._seen or {}).get(state, math.inf) <= slack
        self.merged = self.merged or (may_merge and known)

    async def committed(self) -> None:
        try:
            await self._hear()
        except Exception as error:
            self.failure = self.failure or error
            raise

    async def _hear(self) -> None:
        facts = await self._scene.pool.inner.fetch(_FACTS, self._last)
        if facts:
            self._last = facts[-1]["id"]
            self._scene.judge.hear(facts)

    async def in_flight(self) -> int:
        """Operations that nobody has seen the end of."""
        await self._scene.turns.park("the end")
        with self._scene.turns.io():
            found: int = await self._scene.pool.inner.fetchval(
                "SELECT count(*) FROM assignment WHERE op_kind IS NOT NULL"
            )
        return found
