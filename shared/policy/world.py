"""All compacted documents of one replica, and every question about rights asked of them.

Fed by the table reader, one document at a time; asked by commands and views. It turns people, accounts
and sets into the sets of exact ids the engine matches, so a change of a user, group, account, tag or
set group recompiles nothing. No I/O, and no await: no question sees half a change.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shared.contracts.documents import (
    COUNTERS,
    AccessScope,
    Account,
    ApprovalRule,
    Document,
    Group,
    Marker,
    RegisteredAccount,
    RegisteredSet,
    SetGroup,
    User,
)
from shared.contracts.event import Revisions
from shared.policy.directory import Directory, Lookup, Memberships
from shared.policy.engine import NOT_READY, Policy
from shared.policy.row import ANY, Answer, Ask, RowRefused
from shared.policy.rows import ROLES, role_rows, rule_rows, scope_rows
from shared.policy.selection import Rank, RuleChoice, account_ranks, choose, set_ranks

__all__ = ["RuleChoice", "World"]

D = TypeVar("D", bound=Document)

_NOBODY: Final = Answer(allowed=False, code="NO_RULE")
_BY_ROLE_ALONE: Final = frozenset({"terminate", "ops.read", "ops.write"})
"""What takes access away or mends the bus: a role's constant rows decide before everything is read."""
_EVERYTHING: Final = frozenset({ANY})
_NO_ROLE: Final = frozenset({"role:nobody"})
_CATALOG: Final = (RegisteredAccount, RegisteredSet, SetGroup, AccessScope)


class World:
    """The documents, the policy compiled from them, and the indexes over them.

    `roles` names, for each role, the Identity Store groups whose members have it. Whoever fills it sets
    `ready` once it is complete: until then every right is denied as NOT_READY, since an allow may be here
    without its deny.
    """

    def __init__(
        self,
        roles: Mapping[str, Collection[str]] | None = None,
        *,
        ready: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.ready = ready
        self.people_ready = ready
        """The inventory alone is complete: people can be recognised, and roles allow stops."""
        self._roles = {role: frozenset(groups) for role, groups in (roles or {}).items()}
        self._documents: dict[type[Document], dict[str, Document]] = {}
        self._refused: dict[str, str] = {}
        self._counters = dict.fromkeys(COUNTERS.values(), 0)
        self._directory = Directory()
        self._groups = Memberships()
        self._set_groups = Memberships()
        self._rules: dict[str, dict[str, ApprovalRule]] = {}
        self._policy = Policy() if policy is None else policy
        for role in self._roles:
            if role not in ROLES:
                raise ValueError(f"there is no role {role!r}: the roles are {', '.join(sorted(ROLES))}")
            self._policy.replace(f"role/{role}", 0, role_rows(role))

    # documents

    def apply(self, document: Document) -> bool:
        """Take over a document unless the same or a newer revision of it is known.

        A document the policy cannot hold is refused: the one before stays in force and `refused` says
        why, until a good revision comes.
        """
        known = self._documents.get(type(document), {}).get(document.id)
        if known is not None and document.revision <= known.revision:
            return False
        try:
            self._compile(document)
        except RowRefused as error:
            self._refused[document.key] = str(error)
            return False
        self._refused.pop(document.key, None)
        self._documents.setdefault(type(document), {})[document.id] = document
        self._index(document, known)
        self._count(_counter_of(document), document.revision)
        return True

    def mark(self, marker: Marker) -> None:
        """Take over an owner's counter, which also moves by changes that left no document here."""
        self._count(COUNTERS[marker.owner], marker.revision)

    @property
    def refused(self) -> Mapping[str, str]:
        """Documents whose last revision was refused, by key, with the reason. Somebody must be told."""
        return self._refused

    @property
    def revisions(self) -> Revisions:
        """Which documents a decision made now is made on."""
        return Revisions(**self._counters)

    def covers(self, wanted: Revisions) -> bool:
        """Whether the documents here are at least as new as those an earlier decision was made on."""
        have = self._counters
        return all(have[counter] >= revision for counter, revision in wanted.model_dump().items())

    def get(self, kind: type[D], document_id: str) -> D | None:
        """The document of that class and id; None when unknown or deleted."""
        found = self._documents.get(kind, {}).get(document_id)
        return found if isinstance(found, kind) and not found.deleted else None

    def all(self, kind: type[D]) -> list[D]:
        """Every document of that class that is not deleted."""
        found = self._documents.get(kind, {}).values()
        return [document for document in found if isinstance(document, kind) and not document.deleted]

    def registered_account(self, account_id: str) -> RegisteredAccount | None:
        return self.get(RegisteredAccount, account_id)

    def registered_set(self, set_id: str) -> RegisteredSet | None:
        return self.get(RegisteredSet, set_id)

    # people and the sets of an ask

    def user(self, user_id: str) -> User | None:
        return self._directory.get(user_id)

    def find_user(self, lookup: Lookup, value: str, *, issuer: str = "") -> list[User]:
        """Every user, enabled or not, whom a claim of that value names."""
        return self._directory.find(lookup, value, issuer=issuer)

    def groups_of(self, user_id: str) -> frozenset[str]:
        return self._groups.containers(user_id)

    def members_of(self, group_id: str) -> frozenset[str]:
        return self._groups.members(group_id)

    def people(self, subjects: Iterable[str]) -> frozenset[str]:
        """The enabled users whom the subjects name, by themselves or through groups and roles."""
        return frozenset(
            user_id for subject in subjects for user_id in self._people(subject) if self._is_enabled(user_id)
        )

    def roles_of(self, user_id: str) -> frozenset[str]:
        groups = self.groups_of(user_id)
        return frozenset(role for role, holders in self._roles.items() if holders & groups)

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
        if account_id is None:
            return frozenset({ANY})
        return frozenset(account_ranks(account_id, self.get(Account, account_id)))

    def sets(self, set_id: str | None) -> frozenset[str]:
        """Every set selector that holds the permission set; of no set, `*` alone."""
        if set_id is None:
            return frozenset({ANY})
        return frozenset(set_ranks(set_id, self._set_groups.containers(set_id)))

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
        if not self.ready:
            return self._by_role_alone(user_id, verb, now)
        if not self._is_enabled(user_id):
            return _NOBODY
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        return self._policy.decide(Ask(self.subjects(user_id), verb, scopes, sets, duration, now))

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
        if not self.ready or not self._is_enabled(user_id):
            return None
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        return self._policy.longest(Ask(self.subjects(user_id), verb, scopes, sets, timedelta(0), now))

    def who_may(
        self,
        verb: str,
        account_id: str | None = None,
        set_id: str | None = None,
        *,
        duration: timedelta = timedelta(0),
        now: datetime,
    ) -> frozenset[str]:
        """Every enabled user for whom `may` allows it; nobody while not ready."""
        if not self.ready:
            return frozenset()
        scopes, sets = self.scopes(account_id), self.sets(set_id)
        relevant = self._policy.subjects_with(verb, scopes)
        # Only subjects with a row for this verb decide: people who share those share the answer.
        alike: dict[frozenset[str], list[str]] = {}
        for user_id in self.people(relevant):
            alike.setdefault(self.subjects(user_id) & relevant, []).append(user_id)
        return frozenset(
            user_id
            for subjects, user_ids in alike.items()
            if self._policy.decide(Ask(subjects, verb, scopes, sets, duration, now)).allowed
            for user_id in user_ids
        )

    def rules_for(self, account_id: str, set_id: str, duration: timedelta) -> RuleChoice:
        """The approval rules for a target and that length, and the stages or auto-approval they give."""
        accounts = account_ranks(account_id, self.get(Account, account_id))
        sets = set_ranks(set_id, self._set_groups.containers(set_id))
        matching = [
            (Rank(rank, sets[rule.sets]), rule)
            for selector, rank in accounts.items()
            for rule in self._rules.get(selector, {}).values()
            if rule.sets in sets
        ]
        return choose(matching, duration)

    # inside

    def _by_role_alone(self, user_id: str, verb: str, now: datetime) -> Answer:
        """Before everything is read, a stop or a repair may still be allowed by a role."""
        if verb not in _BY_ROLE_ALONE or not self.people_ready or not self._is_enabled(user_id):
            return NOT_READY
        roles = frozenset(f"role:{role}" for role in self.roles_of(user_id))
        answer = self._policy.decide(
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
        groups = {name} if kind == "group" else self._roles.get(name, frozenset())
        return frozenset(user_id for group in groups for user_id in self._groups.members(group))

    def _compile(self, document: Document) -> None:
        if isinstance(document, AccessScope):
            rows = () if document.deleted else scope_rows(document)
        elif isinstance(document, ApprovalRule):
            rows = () if document.deleted else rule_rows(document)
        else:
            return
        self._policy.replace(document.key, document.revision, rows)

    def _index(self, document: Document, before: Document | None) -> None:
        if isinstance(document, User):
            self._directory.put(document)
        elif isinstance(document, Group):
            self._groups.put(document.id, () if document.deleted else document.members)
        elif isinstance(document, SetGroup):
            self._set_groups.put(document.id, () if document.deleted else document.sets)
        elif isinstance(document, ApprovalRule):
            if isinstance(before, ApprovalRule):
                self._rules.get(before.accounts, {}).pop(before.id, None)
            if not document.deleted:
                self._rules.setdefault(document.accounts, {})[document.id] = document

    def _count(self, counter: str, revision: int) -> None:
        self._counters[counter] = max(self._counters[counter], revision)


def _counter_of(document: Document) -> str:
    if isinstance(document, _CATALOG):
        return "catalog"
    return "rules" if isinstance(document, ApprovalRule) else "inventory"
