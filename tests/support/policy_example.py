"""The worked example of the policy as documents, and the decisions it must give.

People: ann dev; bob dev and managers; carl owners-prod; dora secops; eve dev and contractors; root admin;
aud auditor; temp by name. Accounts: P (prod), S (prod, pci) and D (dev).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.contracts.documents import (
    AccessScope,
    Account,
    ApprovalRule,
    Document,
    Group,
    Membership,
    PermissionSet,
    RuleStage,
    SetGroup,
    User,
)
from shared.policy.engine import PolicyEngine
from shared.policy.row import Code
from shared.policy.snapshot import Snapshot
from tests.support import organisation

P, S, D = "111111111111", "333333333333", "222222222222"
ADMIN, RO = "ps-admin", "ps-ro"
NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EIGHT, TEN = NINE.replace(hour=8), NINE.replace(hour=10)
ROLES = {"admin": ("admins",), "auditor": ("auditors",)}
PEOPLE = {
    "ann": ("dev",),
    "bob": ("dev", "managers"),
    "carl": ("owners-prod",),
    "dora": ("secops",),
    "eve": ("dev", "contractors"),
    "root": ("admins",),
    "aud": ("auditors",),
    "temp": (),
}


def snapshot(engine: PolicyEngine | None = None) -> Snapshot:
    """The example, complete; `engine` stands in for the usual one."""
    return Snapshot.of(ROLES, documents(), engine=engine)


def documents() -> Iterator[Document]:
    yield from _inventory()
    yield SetGroup(id="elevated", revision=1, name="elevated", sets=(ADMIN,))
    yield SetGroup(id="read", revision=1, name="read", sets=(RO,))
    yield from _scopes()
    yield from _rules()


def user(name: str, *, revision: int = 1, enabled: bool = True) -> User:
    return User(id=name, revision=revision, user_name=name, enabled=enabled)


def account(account_id: str, ou: str, *, revision: int = 1, tags: dict[str, str] | None = None) -> Account:
    return Account(
        id=account_id,
        revision=revision,
        name=account_id,
        state="ACTIVE",
        ous=("root", ou),
        tags=tags or {},
    )


def scope(scope_id: str, who: str, accounts: str, sets: str, minutes: float, **fields: object) -> AccessScope:
    given = {"id": scope_id, "revision": 1, "name": scope_id, "subjects": (who,), **fields}
    length = timedelta(minutes=minutes)
    return AccessScope.model_validate({**given, "accounts": accounts, "sets": sets, "max_duration": length})


def rule(rule_id: str, accounts: str, sets: str, *approvers: str, **fields: object) -> ApprovalRule:
    """One stage of these approvers, or none without approvers."""
    stages = (RuleStage(approvers=approvers),) if approvers else ()
    given = {"id": rule_id, "revision": 1, "name": rule_id, "stages": stages, **fields}
    return ApprovalRule.model_validate({**given, "accounts": accounts, "sets": sets})


def members(group: str, *people: str, revision: int = 1) -> list[Membership]:
    """All shards of a group: these are in it, and nobody else."""
    return organisation.members(group, *people, revision=revision)


def _inventory() -> Iterator[Document]:
    groups = sorted({group for groups in PEOPLE.values() for group in groups})
    yield from (user(name) for name in PEOPLE)
    for group in groups:
        yield Group(id=group, revision=1, name=group)
        yield from members(group, *(name for name, held in PEOPLE.items() if group in held))
    yield account(P, "prod", tags={"env": "prod"})
    yield account(S, "prod", tags={"env": "prod", "pci": "yes"})
    yield account(D, "dev", tags={"env": "dev"})
    for set_id in (ADMIN, RO):
        yield PermissionSet(id=set_id, revision=1, arn=f"arn:{set_id}", name=set_id, digest=set_id)


def _scopes() -> Iterator[Document]:
    deny = {"effect": "deny"}
    yield scope("S1", "group:dev", "ou:dev", "psg:elevated", 480)
    yield scope("S2", "group:dev", "tag:env=prod", f"ps:{ADMIN}", 60)
    yield scope("S3", "group:dev", "*", "psg:read", 1440)
    yield scope("S4", "group:managers", "ou:root", "*", 480, verbs=("request_for",))
    yield scope("D1", "group:contractors", "tag:env=prod", "*", 0, **deny)
    yield scope("D2", "group:dev", "tag:pci=yes", f"ps:{ADMIN}", 0, **deny)
    yield scope("T1", "user:temp", f"acct:{D}", f"ps:{RO}", 60, valid_from=EIGHT, valid_until=TEN)


def _rules() -> Iterator[Document]:
    yield rule("A1", "ou:prod", "*", "group:owners-prod")
    yield rule("A2", "ou:prod", "psg:elevated", "group:secops", always=True)


@dataclass(frozen=True)
class Case:
    """One row of the decision table: who asks for what, and what must come out."""

    number: int
    user: str
    verb: str
    account: str | None
    set: str | None
    minutes: float
    code: Code
    rules: tuple[str, ...] = ()
    now: datetime = NINE

    def holds(self, asked: Snapshot) -> bool:
        length = timedelta(minutes=self.minutes)
        answer = asked.may(self.user, self.verb, self.account, self.set, duration=length, now=self.now)
        expected = (self.code, self.rules, self.code == "ALLOW")
        return (answer.code, answer.rules, answer.allowed) == expected

    def __str__(self) -> str:
        return f"{self.number}-{self.user}-{self.verb}-{self.minutes}"


S1, S2, S3, S4 = (f"scope/S{number}" for number in (1, 2, 3, 4))
D1, D2, T1, A1, A2 = "scope/D1", "scope/D2", "scope/T1", "rule/A1", "rule/A2"
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)

TABLE = (
    Case(1, "ann", "request", D, ADMIN, 480, "ALLOW", (S1,)),
    Case(2, "ann", "request", D, ADMIN, 481, "NO_RULE"),
    Case(2, "ann", "request", D, ADMIN, 480 + 1e-6, "NO_RULE"),
    Case(3, "ann", "request", P, ADMIN, 60, "ALLOW", (S2,)),
    Case(4, "ann", "request", P, ADMIN, 480, "NO_RULE"),
    Case(5, "ann", "request", S, RO, 1440, "ALLOW", (S3,)),
    Case(6, "ann", "request", S, ADMIN, 30, "EXPLICIT_DENY", (D2,)),
    Case(7, "eve", "request", P, RO, 30, "EXPLICIT_DENY", (D1,)),
    Case(8, "eve", "request", D, ADMIN, 30, "ALLOW", (S1,)),
    Case(9, "eve", "request", P, RO, 1, "EXPLICIT_DENY", (D1,)),
    Case(10, "bob", "request_for", D, ADMIN, 60, "ALLOW", (S4,)),
    Case(11, "eve", "request", P, RO, 60, "EXPLICIT_DENY", (D1,)),
    Case(12, "carl", "request", D, RO, 60, "NO_RULE"),
    Case(13, "ann", "request_for", D, RO, 60, "NO_RULE"),
    Case(14, "bob", "request", P, RO, 60, "ALLOW", (S3,)),
    Case(15, "root", "request", P, RO, 60, "NO_RULE"),
    Case(18, "temp", "request", P, ADMIN, 60, "NO_RULE"),
    Case(21, "temp", "request", D, RO, 60, "NO_RULE", now=TEN),
    Case(22, "temp", "request", D, RO, 60, "ALLOW", (T1,), now=TEN - TICK),
    Case(23, "temp", "request", D, RO, 60, "ALLOW", (T1,), now=EIGHT),
    Case(23, "temp", "request", D, RO, 60, "NO_RULE", now=EIGHT - TICK),
    Case(24, "carl", "approve/A1/1", P, ADMIN, 60, "ALLOW", (A1,)),
    Case(25, "carl", "approve/A1/1", D, ADMIN, 60, "NO_RULE"),
    Case(26, "carl", "approve/A2/1", P, ADMIN, 60, "NO_RULE"),
    Case(27, "dora", "approve/A2/1", P, ADMIN, 60, "ALLOW", (A2,)),
    Case(28, "dora", "approve/A2/1", P, RO, 60, "NO_RULE"),
    Case(40, "root", "approve/A1/1", P, ADMIN, 60, "NO_RULE"),
    Case(43, "aud", "audit.read", None, None, 0, "ALLOW", ("role/auditor",)),
    Case(44, "aud", "config.write", None, None, 0, "NO_RULE"),
    Case(45, "aud", "terminate", P, ADMIN, 0, "NO_RULE"),
    Case(46, "carl", "terminate", P, ADMIN, 0, "ALLOW", (A1,)),
    Case(46, "dora", "ticket.read", P, ADMIN, 0, "ALLOW", (A2,)),
    Case(47, "carl", "terminate", D, ADMIN, 0, "NO_RULE"),
    Case(48, "root", "config.write", None, None, 0, "ALLOW", ("role/admin",)),
    Case(48, "root", "terminate", P, ADMIN, 0, "ALLOW", ("role/admin",)),
    Case(50, "nobody", "request", D, RO, 60, "NO_RULE"),
)
"""The table without relayed and delegated votes and without guards, which are not the policy's.

A number says which question it is; the same number twice is a limit from both sides.
"""
