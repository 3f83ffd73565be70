"""What must never happen, whatever the schedule: the invariants, checked at every turn and at the end.

What is true is read from the simulator's own record. What the product says is read from its outbox as it
commits. An invariant is a method here; docs/model.md says how to add one.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from model.aws import ModelAws
from model.bounds import BASE_S, LATE_S, LOOK_S, OFTEN, PATIENCE_S, allowance
from model.turns import Turns
from model.watched import FINAL, Violation, Watched
from services.provisioner.settings import ProvisionerSettings
from simulator.asynchronous import CREATE, AsyncRequest
from simulator.model import Assignment

BUGS: Final = ("visit", "extension")
"""Alerts that say of themselves that they are about a bug."""


@dataclass
class Judge:
    turns: Turns
    aws: ModelAws
    now: Callable[[], datetime]
    alerts: Callable[[], Iterable[str]]
    settings: ProvisionerSettings
    lag_s: float = 0.0
    patience_s: float = 0.0
    known: frozenset[str] = frozenset()
    """Rules whose breaking is known, and passed over."""
    grants: dict[str, Watched] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    _origin: dict[Assignment, str] = field(default_factory=dict)
    _gone: dict[Assignment, float] = field(default_factory=dict)
    """When it was last there: elapsed time, as all moments of this class."""
    _unworked: dict[Assignment, float] = field(default_factory=dict)
    _left: dict[Assignment, float] = field(default_factory=dict)
    _told_over: dict[Assignment, float] = field(default_factory=dict)
    _asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _read: int = 0
    _heard: int = 0
    _checked: float = 0.0

    def begin(self) -> None:
        self._checked = self.turns.time

    @property
    def memory(self) -> list[Any]:
        """What it holds against whom, in tenths of seconds: two states that differ here are two."""
        clocks = (self._gone, self._left, self._unworked, self._told_over)
        noted = [sorted([self._called(key), round(at, 1)] for key, at in one.items()) for one in clocks]
        grants = [
            [one.name, one.state, one.asked, one.stopped, one.due_since and round(one.due_since, 1)]
            for one in self.grants.values()
        ]
        return [noted, grants, sorted(self.story)]

    def wrong(self, rule: str, what: str) -> None:
        if not self.violations and rule not in self.known:
            at = self.turns.time
            self.violations.append(Violation(rule, f"{what} (at {at:.1f} s)"))

    @property
    def slack_s(self) -> float:
        """What the schedule's choices excuse."""
        return sum(allowance(choice) for _, _, choice in self.turns.taken)

    def insist(self, rule: str, what: str) -> None:
        """Also where it is known."""
        if not self.violations:
            self.violations.append(Violation(rule, what))

    # at every turn

    def look(self) -> None:
        """The invariants about what is there."""
        passed, self._checked = self.turns.time - self._checked, self.turns.time
        present = self.aws.assignments()
        self._follow_history()
        self._follow_calls()
        now = self.now()
        requests = self.aws.world.requests.running()
        running = {one.assignment for one in requests}
        self._check_limits([one for one in requests if one.assignment in self._watched])
        for key in present:
            self._gone.pop(key, None)
            if self._is_ours(key):
                self._check_left(key, now, passed, worked_on=key in running)
        for key in [key for key in self._left if key not in present]:
            self._left.pop(key), self._unworked.pop(key, None)
        self._check_alerts()

    def _check_left(self, key: Assignment, now: datetime, passed: float, *, worked_on: bool) -> None:
        """Never present after the end plus the bound, and no revoke waits for anybody else's work.

        While AWS works on it the second clock stands still: what AWS takes is AWS's.
        """
        if any(one.key == key and one.holds(now) for one in self.grants.values()):
            self._left.pop(key, None)
            self._unworked.pop(key, None)
            return
        self._left[key] = self._left.get(key, -passed) + passed
        self._unworked[key] = self._unworked.get(key, -passed) + (0 if worked_on else passed)
        bound = BASE_S + 2 * self.lag_s + self.patience_s + self.slack_s
        if self._unworked[key] > bound:
            self.wrong("revoke_waits", f"{self._called(key)}: nothing is done about it for {bound:.0f} s")
        if self._left[key] > bound + 10 and not self._is_blocked(key):
            self.wrong("present_after_end", f"{self._called(key)}: still there after {bound + 10:.0f} s")

    def _check_limits(self, ours: list[AsyncRequest]) -> None:
        """AWS's limits, which we keep: slots, fewer for creations, one creation of a tuple at a time.

        After a patience deletions need no slot, so what is old does not count against them.
        """
        creations = [one.assignment for one in ours if one.kind == CREATE]
        if len(creations) > self.settings.grant_slots:
            self.wrong("slots_exceeded", f"{len(creations)} creations of {self.settings.grant_slots}")
        oldest = self.aws.clock.now() - PATIENCE_S + self._set_ahead_s
        recent = [one for one in ours if one.created_at > oldest]
        if len(recent) > self.settings.slots:
            self.wrong("slots_exceeded", f"{len(recent)} operations of {self.settings.slots}")

    @property
    def _set_ahead_s(self) -> float:
        """By how much the database's clock was set ahead: operations look so much older by it."""
        steps = [float(choice[5:]) for _, _, choice in self.turns.taken if choice.startswith("step:")]
        return sum(step for step in steps if step > 0)

    def _follow_calls(self) -> None:
        """A request whose answer was lost is looked for: it is not made again while AWS's list shows it."""
        calls = self.aws.records.calls
        while self._heard < len(calls):
            row = calls[self._heard]
            self._heard += 1
            self._check_hurry(row)
            if row["operation"] == "CreateAccountAssignment" and row["error"] and not self._may_be_old:
                self._check_twice(row["params"], row["time"])

    def _check_hurry(self, row: Mapping[str, Any]) -> None:
        """AWS's limits are not used up by asking the same again and again."""
        asked = self._asked[f"{row['operation']} {sorted(row['params'].items(), key=str)}"]
        asked.append(row["time"])
        if len(asked) > OFTEN and asked[-1] - asked[-1 - OFTEN] < 1:
            self.wrong("asks_too_often", f"{row['operation']} more than {OFTEN} times in a second")

    def _check_twice(self, params: Mapping[str, Any], at: float) -> None:
        shown = at - self.aws.status_lag_s - LOOK_S
        for one in self.aws.world.requests.running():
            key = one.assignment
            same = key is not None and (key.principal, key.account, key.permission_set) == (
                params["PrincipalId"], params["TargetId"], params["PermissionSetArn"],
            )  # fmt: skip
            if same and one.kind == CREATE and one.created_at < shown:
                self.wrong("sent_twice", "a creation was sent while AWS lists another of the same")

    @property
    def _may_be_old(self) -> bool:
        """A process was held up: what it does then may be what it was about to do before."""
        return any(choice.startswith(("freeze", "hold", "pause")) for _, _, choice in self.turns.taken)

    @property
    def _watched(self) -> set[Assignment]:
        return {one.key for one in self.grants.values()}

    def _is_blocked(self, key: Assignment) -> bool:
        """AWS has a request for this account that never ends."""
        running = self.aws.world.requests.running()
        return any(one.account == key.account and one.seconds is None for one in running)

    def _check_alerts(self) -> None:
        """Every late revoke is alerted within its objective."""
        for one in self.grants.values():
            if one.due_since is None or one.state in FINAL or not one.asked:
                continue
            if (
                self.turns.time - one.due_since > LATE_S + self.slack_s
                and "revoke_overdue" not in self.alerts()
            ):
                self.wrong("late_not_alerted", f"{one.name}: due for {LATE_S} s and no alert")

    def _follow_history(self) -> None:
        history = self.aws.records.history
        while self._read < len(history):
            row = history[self._read]
            self._read += 1
            key = Assignment(**{name: row[name] for name in Assignment.model_fields})
            (self._appeared if row["event"] == "appeared" else self._disappeared)(key, row["cause"])

    def _appeared(self, key: Assignment, cause: str) -> None:
        self._origin[key] = cause
        said = self._told_over.get(key)
        request = self.aws.world.requests.all.get(cause)
        if request is None or said is None or self._may_be_old:
            return
        if request.created_at <= said:
            self.wrong("appeared_after_word", f"{self._called(key)}: our own creation came true after it")

    def _disappeared(self, key: Assignment, cause: str) -> None:
        self._gone[key] = self.turns.time
        by_us = cause in self.aws.world.requests.all
        if by_us and self._origin.get(key) in {"standing", "foreign"} and not self._ever_created(key):
            self.wrong("standing_removed", f"{self._called(key)}: it was there before JIT and is not JIT's")
        if by_us and not self._may_be_old:
            self._check_held(key)
        self._origin.pop(key, None)

    def _check_held(self, key: Assignment) -> None:
        """What a grant still holds is not taken away by us; one that is only being made is made again."""
        now = self.now()
        for one in self.grants.values():
            if one.key == key and one.state == "granted" and one.holds(now):
                self.wrong("taken_while_held", f"{one.name}: JIT took away what was granted")

    def _ever_created(self, key: Assignment) -> bool:
        requests = self.aws.world.requests.all.values()
        return any(one.kind == CREATE and one.assignment == key for one in requests)

    def _is_ours(self, key: Assignment) -> bool:
        return self._origin.get(key) in self.aws.world.requests.all

    # what is said

    def hear(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Facts as they are committed, in order."""
        self.aws.assignments()
        self._follow_history()
        for row in facts:
            fact, kind = json.loads(row["payload"]), row["type"].split(".")[1]
            one = self.grants[fact["grant_id"]]
            why = fact.get("code") or fact.get("cause_of_end")
            self.story.append(f"{one.name} {kind}" + (f"({why})" if why else ""))
            self._hear_one(one, kind, fact)

    def _hear_one(self, one: Watched, kind: str, fact: Mapping[str, Any]) -> None:
        match kind:
            case "extended":
                one.ends_at = datetime.fromisoformat(fact["ends_at"])
            case "revoke_due":
                one.due_since = self.turns.time
                one.state = "due"
            case "extension_failed" | "revoke_overdue":
                pass
            case "granting":
                one.asked, one.state = True, kind
                self._told_over.pop(one.key, None)
            case _:
                self._check_word(one, kind, fact)
                one.state = kind

    def _check_word(self, one: Watched, kind: str, fact: Mapping[str, Any]) -> None:
        """Never `granted` or `released` while it is not there, never `revoked` or `failed` while it is."""
        there = one.key in self.aws.world.truth.present
        kept = bool(fact.get("kept_by"))
        if kind in {"granted", "released"} or (kind == "failed" and kept):
            self._check_there(one, kind, there=there)
        elif kind == "revoked" or (kind == "failed" and one.asked):
            if there and self._is_ours(one.key):
                self.wrong("gone_while_present", f"{one.name}: {kind} is said and the access is there")
            self._told_over[one.key] = self.aws.clock.now()
        if kind == "granted" and one.stopped:
            self.wrong("granted_after_stop", f"{one.name}: granted after it was stopped")

    def _check_there(self, one: Watched, kind: str, *, there: bool) -> None:
        seen = self._gone.get(one.key)
        recent = seen is not None and self.turns.time - seen <= LOOK_S + self.lag_s + self.slack_s
        if not there and not recent:
            self.wrong(f"{kind}_while_absent", f"{one.name}: {kind} is said and the access is not there")

    # what is done

    def stopped(self, which: Callable[[Watched], bool]) -> None:
        """A stop was committed."""
        for one in self.grants.values():
            if which(one) and one.state not in FINAL:
                one.stopped = True

    # at the end

    @property
    def is_over(self) -> bool:
        return all(one.state in FINAL for one in self.grants.values())

    def conclude(self, in_flight: int) -> None:
        """Every claim is final, nothing of ours is there and nothing is in flight."""
        self.look()
        for one in self.grants.values():
            if one.state not in FINAL:
                self.wrong("not_final", f"{one.name} is {one.state}")
        if in_flight:
            self.wrong("not_final", f"{in_flight} operations are still in flight")
        for key in self.aws.assignments():
            if self._is_ours(key):
                self.wrong("left_behind", f"{self._called(key)} is there at the end")
        for alert in self.alerts():
            if alert in BUGS:
                self.wrong("bug", f"the alert {alert} says that there is a bug")

    def _called(self, key: Assignment) -> str:
        names = self.aws.directory.names_of(key)
        return f"{names['principal_name']}/{names['account_name']}/{names['permission_set_name']}"
