"""Injected faults: rules that say which calls go wrong, how and how often.

Chosen before a call is looked at, by `wire`; the administration interface keeps the list.
"""

import random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.asynchronous import Plan
from simulator.directory import Directory

Kind = Literal[
    "error",
    "http500",
    "reset_before",
    "reset_after_accept",
    "latency",
    "fail_async",
    "never_finishes",
    "duration",
]
AFTER_ACCEPTANCE = ("reset_after_accept", "fail_async", "never_finishes", "duration")
"""Kinds that show on accepted calls only."""

DEFAULT_REASON = "Request failed due to an unexpected internal service exception. Try again later."


class FaultRule(BaseModel):
    """`operation` is an API operation's name or `*`; account, set and user narrow it, by name or id.

    `times` is how often it still strikes (absent: without end), `probability` how likely it is each time.
    """

    model_config = ConfigDict(extra="forbid")

    operation: str
    kind: Kind
    account: str | None = None
    permission_set: str | None = None
    user: str | None = None
    code: str = "ThrottlingException"
    status: int = Field(default=400, ge=400, le=599)
    message: str = "Rate exceeded"
    seconds: float = Field(default=0, ge=0)
    reason: str = DEFAULT_REASON
    partial: bool = False
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1, gt=0, le=1)
    seed: int | None = None
    id: int = 0
    struck: int = 0

    @model_validator(mode="after")
    def _meaningful(self) -> "FaultRule":
        if self.kind in {"latency", "duration"} and not self.seconds:
            raise ValueError(f"{self.kind} needs seconds")
        return self

    @property
    def plan(self) -> Plan:
        """What it does to an accepted asynchronous request."""
        return Plan(
            failure=self.reason if self.kind == "fail_async" else None,
            partial=self.partial and self.kind == "fail_async",
            never_ends=self.kind == "never_finishes",
            seconds=self.seconds if self.kind == "duration" else None,
        )


class Faults:
    """The rules in force. The first that matches a call and strikes is the only one."""

    def __init__(self, seed: int) -> None:
        self.rules: list[FaultRule] = []
        self._rng: dict[int, random.Random] = {}
        self._seed = seed
        self._count = 0

    def add(self, rule: FaultRule) -> FaultRule:
        self._count += 1
        rule = rule.model_copy(update={"id": self._count, "struck": 0})
        seed = self._seed + rule.id if rule.seed is None else rule.seed
        self._rng[rule.id] = random.Random(seed)  # noqa: S311 - a run must be repeatable
        self.rules.append(rule)
        return rule

    def remove(self, rule_id: int) -> bool:
        kept = [rule for rule in self.rules if rule.id != rule_id]
        found = len(kept) < len(self.rules)
        self.rules = kept
        return found

    def clear(self) -> None:
        self.rules = []

    def strike(self, operation: str, params: dict[str, Any], directory: Directory) -> FaultRule | None:
        """The rule that hits this call, if any; its count goes up."""
        for rule in self.rules:
            if not _matches(rule, operation, params, directory):
                continue
            if self._rng[rule.id].random() >= rule.probability:
                continue
            rule.struck += 1
            if rule.times is not None and rule.struck >= rule.times:
                self.remove(rule.id)
            return rule
        return None

    def spare(self, rule: FaultRule) -> None:
        """Take a strike back: the call was refused for another reason before the fault could show."""
        rule.struck -= 1
        if rule not in self.rules:
            self.rules.insert(0, rule)


def _matches(rule: FaultRule, operation: str, params: dict[str, Any], directory: Directory) -> bool:
    if rule.operation not in {"*", operation}:
        return False
    account = params.get("TargetId") or params.get("AccountId")
    user = params.get("PrincipalId") or params.get("UserId")
    return (
        _named(rule.account, account, directory.find_account)
        and _named(rule.permission_set, params.get("PermissionSetArn"), directory.find_set)
        and _named(rule.user, user, directory.find_user)
    )


def _named(wanted: str | None, given: Any, find: Any) -> bool:
    """Whether a call's `given` id is the wanted one; a name that nothing bears matches nothing."""
    if wanted is None or wanted == given:
        return True
    try:
        found = find(wanted)
    except LookupError:
        return False
    return given is not None and given == getattr(found, "arn", getattr(found, "id", None))
