"""Can distinct people fill all stages of a review? A bipartite matching, as a pure function.

A person counts once per review, so two stages with the same single approver cannot both be filled.
"""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Protocol


class NeedsVotes(Protocol):
    """A stage, seen as the number of approvals it needs."""

    @property
    def needed(self) -> int: ...


def solvable(
    stages: Sequence[NeedsVotes],
    candidates: Sequence[Collection[str]],
    *,
    used: Collection[str] = frozenset(),
    given: Sequence[int] = (),
) -> bool:
    """Whether every stage can still get its votes from people who vote in no other stage.

    `candidates` holds, stage by stage, the user ids that may vote there. `used` are those who cannot
    vote any more: parties, and whoever has voted. `given` counts, stage by stage, the approvals there
    are already (none where left out). Raises ValueError if the sequences do not fit together.
    """
    if len(candidates) != len(stages) or (given and len(given) != len(stages)):
        raise ValueError("solvable() takes one entry per stage in `candidates` and in `given`")
    done = given or [0] * len(stages)
    missing = [max(0, stage.needed - votes) for stage, votes in zip(stages, done, strict=True)]
    free = [frozenset(people) - frozenset(used) for people in candidates]
    if sum(missing) > len(set(chain.from_iterable(free))):
        return False
    assigned: dict[str, int] = {}
    slots = (stage for stage, votes in enumerate(missing) for _ in range(votes))
    return all(_fill(stage, free, assigned) for stage in slots)


def _fill(stage: int, free: Sequence[Collection[str]], assigned: dict[str, int]) -> bool:
    """Find one more voter for the stage, moving others between stages where that helps."""
    came_from: dict[str, str | None] = {}
    waiting: deque[tuple[int, str | None]] = deque([(stage, None)])
    seen = {stage}
    while waiting:
        here, moved = waiting.popleft()
        for person in free[here]:
            if person in came_from or assigned.get(person) == here:
                continue
            came_from[person] = moved
            if person not in assigned:
                _shift(person, stage, came_from, assigned)
                return True
            if assigned[person] not in seen:
                seen.add(assigned[person])
                waiting.append((assigned[person], person))
    return False


def _shift(person: str, stage: int, came_from: dict[str, str | None], assigned: dict[str, int]) -> None:
    """Walk back along the path: each person takes the place of the one who is moved on."""
    here: str = person
    while (moved := came_from[here]) is not None:
        assigned[here] = assigned[moved]
        here = moved
    assigned[here] = stage
