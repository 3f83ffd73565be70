"""Documents and the rows compiled from them as one immutable value, and every question about rights.

A snapshot turns people, accounts and sets into the sets of exact ids the engine matches. It answers for
ever as on the day it was taken; `replace` and `without` derive another that shares nearly all of it, which
is how the policy itself moves on (policy.py) and how a plan asks "what if". No I/O, and no await.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

from rpds import HashTrieMap

from shared.contracts.documents import (
    COUNTERS,
    Account,
    ApprovalRule,
    Binding,
    Document,
    Group,
    Marker,
    Membership,
    PermissionSet,
    RegisteredAccount,
    RegisteredSet,
    SetGroup,
    User,
    group_of_shard,
    shards_of,
)
from shared.contracts.event import Revisions
from shared.policy.directory import Directory, Lookup, Memberships, name_order
from shared.policy.engine import NOT_READY, PolicyEngine
from shared.policy.row import ANY, Answer, Ask, Row
from shared.policy.rows import ROLES, role_rows, rows_of
from shared.policy.selection import Rank, RuleChoice, account_ranks, choose, set_ranks
from shared.policy.sign_ins import SignIns

D = TypeVar("D", bound=Document)

PATIENCE: Final = timedelta(minutes=1)
"""How long documents as new as an earlier decision's are waited for: a forged word may name any revision."""


def is_to_come(decided_at: datetime, *, now: datetime) -> bool:
    """Whether a decision says it was made later than any difference of clocks explains: it was not."""
    return decided_at - now >= PATIENCE


_NOBODY: Final = Answer(allowed=False, code="NO_RULE")
_BY_ROLE_ALONE: Final = frozenset({"terminate", "ops.read", "ops.write"})
"""What takes access away or mends the bus: a role's constant rows decide before everything is read."""
_EVERYTHING: Final = frozenset({ANY})
_NO_ROLE: Final = frozenset({"role:nobody"})
_Documents: TypeAlias = "HashTrieMap[str, HashTrieMap[str, Document]]"
_NAMED: Final = (Account, PermissionSet, SetGroup)
"""Kinds whose names are looked up here; a person's are in the directory."""
_Rules: TypeAlias = "HashTrieMap[str, HashTrieMap[str, ApprovalRule]]"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Made by `Snapshot.of`, and from there by `replace`.

    One that is not complete denies every right as NOT_READY, since an allow may be here without its deny;
    only roles allow stops and repairs.
    """

    roles: Mapping[str, frozenset[str]]
    """For each role, the Identity Store groups whose members have it."""
    complete: bool = True
    people_known: bool = True
    """The inventory alone is complete: people can be recognised, and roles allow stops."""
    revisions: Revisions = field(default_factory=Revisions)
    """Which documents a decision made on this is made on."""
    _engine: PolicyEngine = field(default_factory=PolicyEngine, repr=False)
    _documents: _Documents = field(default_factory=HashTrieMap, repr=False)
    """By kind, then by id."""
    _directory: Directory = field(default_factory=Directory, repr=False)
    _groups: Memberships = field(default_factory=Memberships, repr=False)
    _set_groups: Memberships = field(default_factory=Memberships, repr=False)
    sign_ins: SignIns = field(default_factory=SignIns, repr=False)
    """Whom tokens' subjects are."""
    _names: "HashTrieMap[str, Memberships]" = field(default_factory=HashTrieMap, repr=False)
    """By kind: each id with its one name, and from the name back to all ids that have it."""
    _rules: _Rules = field(default_factory=HashTrieMap, repr=False)
    """By account selector, then by id."""
    _sorted: dict[tuple[type[Document], str], tuple[Any, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """What `all` and `by_name` have answered; every derived snapshot begins its own."""

    @classmethod
    def of(
        cls,
        roles: Mapping[str, Collection[str]] | None = None,
        documents: Iterable[Document] = (),
        *,
        engine: PolicyEngine | None = None,
    ) -> "Snapshot":
        """These documents and nothing else, as if they were all there are."""
        filled = PolicyEngine() if engine is None else engine
        for role in roles or {}:
            if role not in ROLES:
                raise ValueError(f"there is no role {role!r}: the roles are {', '.join(sorted(ROLES))}")
            filled = filled.replace(f"role/{role}", role_rows(role))
        holders = {role: frozenset(groups) for role, groups in (roles or {}).items()}
        return cls(holders, _engine=filled).replace(*documents)

    # deriving another

    def replace(self, *documents: Document) -> "Snapshot":
        """With each document in the place of the one with its key, whatever their revisions.

        Of one that is deleted only that is kept. Raises RowRefused for a document the policy cannot hold.
        """
        after = self
        for document in documents:
            after = after._with(document)
        return after

    def without(self, *documents: Document) -> "Snapshot":
        """As if these had been deleted."""
        return self.replace(*(document.tombstone() for document in documents))

    def counted(self, marker: Marker) -> "Snapshot":
        """With an owner's counter, which also moves by changes that left no document here."""
        return replace(self, revisions=self.revisions.raised(COUNTERS[marker.owner], marker.revision))

    # documents

    def get(self, kind: type[D], document_id: str) -> D | None:
        """The document of that class and id; None when unknown or deleted."""
        found = self._of_kind(kind).get(document_id)
        return found if isinstance(found, kind) and not found.deleted else None

    def knows(self, kind: type[Document], document_id: str) -> bool:
        """Whether there is or was such a document."""
        return document_id in self._of_kind(kind)

    def all(self, kind: type[D]) -> tuple[D, ...]:
        """Every document of that class that is not deleted, by id."""
        return self._in_order(kind, "id", lambda document: (document.id,))

    def by_name(self, kind: type[D]) -> tuple[D, ...]:
        """The same in the order of `name_order`: as people look for them."""
        return self._in_order(kind, "name", name_order)

    def called(self, kind: type[Document], name: str) -> frozenset[str]:
        """Ids of every account, permission set or set group with exactly that name."""
        return self._names.get(kind.KIND, Memberships()).containers(name)

    def is_as_new_as(self, wanted: Revisions, *, decided_at: datetime | None = None, now: datetime) -> bool:
        """Whether an earlier decision, made on `wanted`, may be judged by these documents.

        With `decided_at`, when it was made, newer ones are waited for PATIENCE long and no longer. A moment
        to come has not been waited for: see `is_to_come`.
        """
        waited = decided_at is not None and now - decided_at >= PATIENCE
        return waited or self.revisions.covers(wanted)

    def registered_account(self, account_id: str) -> RegisteredAccount | None:
        return self.get(RegisteredAccount, account_id)

    def registered_set(self, set_id: str) -> RegisteredSet | None:
        return self.get(RegisteredSet, set_id)

    def rows(self) -> tuple[Row, ...]:
        """Everything the documents compile to, and the roles' constant rows."""
        return self._engine.rows()

    # people and the sets of an ask

    def user(self, user_id: str) -> User | None:
        return self._directory.get(user_id)

    def find_user(self, lookup: Lookup, value: str, *, issuer: str = "") -> list[User]:
        """Every user, enabled or not, whom a claim of that value names."""
        return self._directory.find(lookup, value, issuer=issuer)

    def groups_of(self, user_id: str) -> frozenset[str]:
        return self._groups.containers(user_id)

    def members_of(self, group_id: str) -> frozenset[str]:
        return frozenset().union(*(self._groups.members(shard) for shard in shards_of(group_id)))

    def people(self, subjects: Iterable[str]) -> frozenset[str]:
        """The enabled users whom the subjects name, by themselves or through groups and roles."""
        return frozenset(
            user_id for subject in subjects for user_id in self._people(subject) if self._is_enabled(user_id)
        )

    def roles_of(self, user_id: str) -> frozenset[str]:
        groups = self.groups_of(user_id)
        return frozenset(role for role, holders in self.roles.items() if holders & groups)

    def subjects(self, user_id: str) -> frozenset[str]:
        """The person, the person's groups and roles, as the rows name them."""
        return frozenset(
            {
                f"user:{user_id}",
                *(f"group:{group}" for group in self.groups_of(user_id)),
                *(f"role:{role}" for role in self.roles_of(user_id)),
            }
        )

    def scopes(self, account_id: str | None) -> frozenset[str]:
        """Every account selector that holds the account; of no account, `*` alone."""
        return _EVERYTHING if account_id is None else frozenset(self._account_ranks(account_id))

    def sets(self, set_id: str | None) -> frozenset[str]:
        """Every set selector that holds the permission set; of no set, `*` alone."""
        return _EVERYTHING if set_id is None else frozenset(self._set_ranks(set_id))

    # decisions

    def may(
        self,
        user_id: str,
        verb: str,
        account_id: str | None = None,
        set_id: str | None = None,
        *,
        duration: timedelta = timedelta(0),
        now: datetime,
    ) -> Answer:
        """Whether the person has the right now. Unknown and disabled users have none.

        That the account and the set are registered is for the caller to check.
        """
        if not self.complete:
            return self._by_role_alone(user_id, verb, now)
        if not self._is_enabled(user_id):
            return _NOBODY
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        return self._engine.decide(Ask(self.subjects(user_id), verb, scopes, sets, duration, now))

    def longest(
        self,
        user_id: str,
        verb: str,
        account_id: str | None = None,
        set_id: str | None = None,
        *,
        now: datetime,
    ) -> timedelta | None:
        """The longest duration `may` allows now; None where it allows none."""
        if not self.complete or not self._is_enabled(user_id):
            return None
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        return self._engine.longest(Ask(self.subjects(user_id), verb, scopes, sets, timedelta(0), now))

    def who_may(
        self,
        verb: str,
        account_id: str | None = None,
        set_id: str | None = None,
        *,
        duration: timedelta = timedelta(0),
        now: datetime,
    ) -> frozenset[str]:
        """Every enabled user for whom `may` allows it; nobody while not complete."""
        if not self.complete:
            return frozenset()
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        relevant = self._engine.subjects_with(verb, scopes)
        # Only subjects with a row for this verb decide: people who share those share the answer.
        alike: dict[frozenset[str], list[str]] = {}
        for user_id in self.people(relevant):
            alike.setdefault(self.subjects(user_id) & relevant, []).append(user_id)
        return frozenset(
            user_id
            for subjects, user_ids in alike.items()
            if self._engine.decide(Ask(subjects, verb, scopes, sets, duration, now)).allowed
            for user_id in user_ids
        )

    def rules_for(self, account_id: str, set_id: str, duration: timedelta) -> RuleChoice:
        """The approval rules for a target and that length, and the stages or auto-approval they give."""
        sets = self._set_ranks(set_id)
        matching = [
            (Rank(rank, sets[rule.sets]), rule)
            for selector, rank in self._account_ranks(account_id).items()
            for rule in (self._rules.get(selector) or {}).values()
            if rule.sets in sets
        ]
        return choose(matching, duration)

    # inside

    def _with(self, document: Document) -> "Snapshot":
        kept = document.tombstone() if document.deleted else document
        rows = rows_of(kept)
        changes: dict[str, Any] = dict(self._indexed(kept))
        if rows is not None:
            changes["_engine"] = self._engine.replace(kept.key, rows)
        beside = self._of_kind(kept.contract).insert(kept.id, kept)
        return replace(
            self,
            revisions=self.revisions.raised(COUNTERS[kept.contract.OWNER], kept.revision),
            _documents=self._documents.insert(kept.kind, beside),
            _sorted={},
            **changes,
        )

    def _indexed(self, document: Document) -> Iterator[tuple[str, object]]:
        """The indexes that a document stands in, with the document in them."""
        if document.deleted:
            yield from self._removed(document)
        elif isinstance(document, _NAMED):
            yield "_names", self._with_name(document, document.name)
        if isinstance(document, User):
            yield "_directory", self._directory.put(document)
        elif isinstance(document, Membership):
            yield "_groups", self._groups.put(document.id, document.members, of=document.group)
        elif isinstance(document, SetGroup):
            yield "_set_groups", self._set_groups.put(document.id, document.sets)
        elif isinstance(document, ApprovalRule):
            rules = self._without_rule(document.id)
            beside: HashTrieMap[str, ApprovalRule] = rules.get(document.accounts) or HashTrieMap()
            yield "_rules", rules.insert(document.accounts, beside.insert(document.id, document))
        elif isinstance(document, Binding):
            yield "sign_ins", self.sign_ins.put(document)

    def _removed(self, gone: Document) -> Iterator[tuple[str, object]]:
        """The same without it: by its kind and id alone, since a tombstone has nothing else."""
        if issubclass(gone.contract, _NAMED):
            yield "_names", self._with_name(gone)
        if gone.contract is User:
            yield "_directory", self._directory.remove(gone.id)
        elif gone.contract is Group:
            yield "_groups", self._without_members(gone.id, *shards_of(gone.id))
        elif gone.contract is Membership:
            yield "_groups", self._without_members(group_of_shard(gone.id), gone.id)
        elif gone.contract is SetGroup:
            yield "_set_groups", self._set_groups.put(gone.id, ())
        elif gone.contract is ApprovalRule:
            yield "_rules", self._without_rule(gone.id)
        elif gone.contract is Binding:
            yield "sign_ins", self.sign_ins.remove(gone.id)

    def _with_name(self, document: Document, *names: str) -> "HashTrieMap[str, Memberships]":
        known = self._names.get(document.kind, Memberships())
        return self._names.insert(document.kind, known.put(document.id, names))

    def _without_members(self, group_id: str, *shards: str) -> Memberships:
        groups = self._groups
        for shard in shards:
            groups = groups.put(shard, (), of=group_id)
        return groups

    def _without_rule(self, rule_id: str) -> _Rules:
        before = self.get(ApprovalRule, rule_id)
        if before is None:
            return self._rules
        return self._rules.insert(before.accounts, self._rules[before.accounts].remove(rule_id))

    def _in_order(self, kind: type[D], by: str, key: Callable[[Document], tuple[str, ...]]) -> tuple[D, ...]:
        if (kind, by) not in self._sorted:
            live = [document for document in self._of_kind(kind).values() if not document.deleted]
            self._sorted[kind, by] = tuple(sorted(live, key=key))
        return self._sorted[kind, by]

    def _of_kind(self, kind: type[Document]) -> "HashTrieMap[str, Document]":
        return self._documents.get(kind.KIND) or HashTrieMap()

    def _account_ranks(self, account_id: str) -> dict[str, int]:
        return account_ranks(account_id, self.get(Account, account_id))

    def _set_ranks(self, set_id: str) -> dict[str, int]:
        return set_ranks(set_id, self._set_groups.containers(set_id))

    def _by_role_alone(self, user_id: str, verb: str, now: datetime) -> Answer:
        """Before everything is read, a stop or a repair may still be allowed by a role."""
        if verb not in _BY_ROLE_ALONE or not self.people_known or not self._is_enabled(user_id):
            return NOT_READY
        roles = frozenset(f"role:{role}" for role in self.roles_of(user_id))
        answer = self._engine.decide(
            Ask(roles or _NO_ROLE, verb, _EVERYTHING, _EVERYTHING, timedelta(0), now)
        )
        return answer if answer.allowed else NOT_READY

    def _is_enabled(self, user_id: str) -> bool:
        user = self._directory.get(user_id)
        return user is not None and user.enabled

    def _people(self, subject: str) -> frozenset[str]:
        kind, _, name = subject.partition(":")
        if kind == "user":
            return frozenset({name})
        groups = {name} if kind == "group" else self.roles.get(name, frozenset())
        return frozenset(user_id for group in groups for user_id in self.members_of(group))
