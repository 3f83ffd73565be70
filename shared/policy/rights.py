"""What one person may do, as a list instead of a question: the scopes, stages and verbs that name them.

Pure, over a snapshot. For showing, and for deciding what somebody may be told; a right itself is asked of
the snapshot (`may`), and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.contracts.documents import (
    AccessScope,
    Account,
    ApprovalRule,
    PermissionSet,
    RegisteredAccount,
    RegisteredSet,
    RuleStage,
)
from shared.policy.row import VERBS
from shared.policy.rows import QUIETED
from shared.policy.snapshot import Snapshot

ADMINISTRATION: Final = tuple(sorted(VERBS - {"request", "request_for"}))


@dataclass(frozen=True, slots=True)
class StageOf:
    """A stage of a rule that somebody may vote in; `index` counts from one."""

    rule: ApprovalRule
    index: int
    stage: RuleStage


@dataclass(frozen=True, slots=True)
class Requestable:
    """A registered account with the registered sets somebody may request on it, each with its longest."""

    account: Account
    sets: tuple[tuple[PermissionSet, timedelta], ...]


def scopes_of(snapshot: Snapshot, user_id: str, *, now: datetime) -> list[AccessScope]:
    """The scopes in force that name the person or one of the person's groups, by id; denying ones too."""
    subjects = snapshot.subjects(user_id)
    return [
        scope
        for scope in snapshot.all(AccessScope)
        if not subjects.isdisjoint(scope.subjects) and _in_force(scope, now)
    ]


def stages_of(snapshot: Snapshot, user_id: str) -> list[StageOf]:
    """The stages that name the person or one of the person's groups; never for requests of their own."""
    subjects = snapshot.subjects(user_id)
    return [
        StageOf(rule, index, stage)
        for rule in snapshot.all(ApprovalRule)
        for index, stage in enumerate(rule.stages, start=1)
        if not subjects.isdisjoint(stage.approvers)
    ]


def verbs_of(snapshot: Snapshot, user_id: str, *, now: datetime) -> list[str]:
    """The verbs of administration that the person has everywhere, and may use now."""
    waiting = QUIETED if snapshot.sign_ins.quiet_until(user_id, now) else frozenset()
    return [
        verb
        for verb in ADMINISTRATION
        if verb not in waiting and snapshot.may(user_id, verb, now=now).allowed
    ]


def may_configure(snapshot: Snapshot, user_id: str, *, now: datetime) -> bool:
    """Whether the person may know all of the organisation: groups, OUs, tags, and what is not registered."""
    return snapshot.may(user_id, "config.read", now=now).allowed


def may_find_users(snapshot: Snapshot, user_id: str, *, now: datetime) -> bool:
    """Whether the person may look for other people: to request for them, or to configure."""
    return may_configure(snapshot, user_id, now=now) or any(
        scope.effect == "allow" and "request_for" in scope.verbs
        for scope in scopes_of(snapshot, user_id, now=now)
    )


def requestable(snapshot: Snapshot, user_id: str, *, now: datetime, after: str = "") -> Iterator[Requestable]:
    """What the person may request for themselves, account by account, behind that account id."""
    reach = _Reach(snapshot, user_id, now)
    for registered in snapshot.all(RegisteredAccount):
        account = snapshot.get(Account, registered.id) if registered.id > after else None
        if account is not None and account.state == "ACTIVE" and (sets := tuple(reach.sets_on(account.id))):
            yield Requestable(account, sets)


class _Reach:
    """One person's `request` on many accounts and sets.

    Two pairs that the same selectors of the person's scopes hold have the same answer: it is asked once.
    """

    def __init__(self, snapshot: Snapshot, user_id: str, now: datetime) -> None:
        self._snapshot, self._user_id, self._now = snapshot, user_id, now
        scopes = [one for one in scopes_of(snapshot, user_id, now=now) if "request" in one.verbs]
        self._accounts = frozenset(scope.accounts for scope in scopes)
        selectors = frozenset(scope.sets for scope in scopes)
        found = (snapshot.get(PermissionSet, one.id) for one in snapshot.all(RegisteredSet))
        self._sets = [(one, snapshot.sets(one.id) & selectors) for one in found if one is not None]
        self._known: dict[tuple[frozenset[str], frozenset[str]], timedelta | None] = {}

    def sets_on(self, account_id: str) -> Iterator[tuple[PermissionSet, timedelta]]:
        held_by = self._snapshot.scopes(account_id) & self._accounts
        for permission_set, set_held_by in self._sets if held_by else ():
            key = (held_by, set_held_by)
            if set_held_by and key not in self._known:
                self._known[key] = self._snapshot.longest(
                    self._user_id, "request", account_id, permission_set.id, now=self._now
                )
            if longest := self._known.get(key):
                yield permission_set, longest


def _in_force(scope: AccessScope, now: datetime) -> bool:
    begun = scope.valid_from is None or scope.valid_from <= now
    return begun and (scope.valid_until is None or now < scope.valid_until)
