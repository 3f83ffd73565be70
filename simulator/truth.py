"""Who really has access now, what lists show of it, and the roles in the accounts.

Pure: time comes in as an argument. Every change goes through `appear` and `disappear`, which tell the
recorder; a judge outside uses that record to check that no access existed outside its window.
"""

import random
from collections.abc import Callable

from simulator.model import Assignment, Record, Role

Recorder = Callable[[float, str, Assignment, str], None]


class PendingView(Record):
    """A change of `assignment` that lists will show from `visible_at` on."""

    visible_at: float
    assignment: Assignment
    present: bool


class Truth:
    """Invariant: an assignment is present once or not at all, and its account then has the set's role."""

    def __init__(self, rng: random.Random, record: Recorder) -> None:
        self.present: set[Assignment] = set()
        self.roles: dict[tuple[str, str], Role] = {}
        self.visible: set[Assignment] = set()
        self.pending: list[PendingView] = []
        self._rng = rng
        self._record = record

    def appear(self, assignment: Assignment, *, at: float, cause: str, revision: int, lag: float) -> None:
        """Make it present; a repeated call changes nothing."""
        self.provision(assignment.account, assignment.permission_set, revision=revision, update=False)
        if assignment in self.present:
            return
        self.present.add(assignment)
        self._record(at, "appeared", assignment, cause)
        self._show(assignment, at=at, lag=lag, present=True)

    def disappear(self, assignment: Assignment, *, at: float, cause: str, lag: float) -> None:
        """Make it absent; the role goes with the last assignment of the set in the account."""
        if assignment not in self.present:
            return
        self.present.discard(assignment)
        self._record(at, "disappeared", assignment, cause)
        self._show(assignment, at=at, lag=lag, present=False)
        key = (assignment.account, assignment.permission_set)
        if not any((other.account, other.permission_set) == key for other in self.present):
            self.roles.pop(key, None)

    def provision(self, account: str, permission_set: str, *, revision: int, update: bool = True) -> None:
        """Make the set's role in the account; an existing one keeps its suffix."""
        role = self.roles.get((account, permission_set))
        if role is None:
            suffix = f"{self._rng.getrandbits(64):016x}"
            role = Role(account=account, permission_set=permission_set, suffix=suffix, revision=revision)
        elif update:
            role = role.model_copy(update={"revision": revision})
        self.roles[account, permission_set] = role

    def shown(self, now: float) -> set[Assignment]:
        """What list operations answer from at `now`."""
        while self.pending and self.pending[0].visible_at <= now:
            view = self.pending.pop(0)
            (self.visible.add if view.present else self.visible.discard)(view.assignment)
        return self.visible

    def _show(self, assignment: Assignment, *, at: float, lag: float, present: bool) -> None:
        # A lag that was shortened meanwhile must not let an older change be shown last.
        latest = self.pending[-1].visible_at if self.pending else 0.0
        view = PendingView(visible_at=max(at + lag, latest), assignment=assignment, present=present)
        self.pending.append(view)
