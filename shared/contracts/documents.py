"""The compacted documents: catalog, rules and inventory, as every replica holds them whole.

A document is replaced whole under its key `<kind>/<id>`; what is left of a deleted one is a `Tombstone`, and
ids of our own making are never reused. `revision` is the owner's counter after the change.
Selectors are strings: accounts `acct:<12 digits>`, `ou:<id>`, `tag:<key>=<value>` (percent-encoded, see
shared/policy/tags.py) or `*`; sets
`ps:<id>`, `psg:<id>` or `*`; subjects `user:<id>` or `group:<id>`.
"""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, Field

from shared.contracts.event import Contract

DOCUMENTS: "dict[str, type[Document]]" = {}
"""Every document class by its kind; filled as classes are made."""


class Document(Contract):
    KIND: ClassVar[str] = ""
    OWNER: ClassVar[str] = ""
    """The service that publishes it."""
    NOUN: ClassVar[str] = ""
    """What the facts about its changes are called, `<noun>.changed.v1`; without one there are none."""
    AWS_ID: ClassVar[bool] = False
    """The id is AWS's: the same account or user may come back. Ids of ours are never used again."""

    id: str
    revision: int = 0
    deleted: bool = False
    together_until: int = Field(default=0, exclude_if=lambda last: last == 0)
    """The last revision of those that were written together, where it was not written alone. Readers show all
    of a write or nothing: half a group would decide what the whole one does not."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.KIND:
            if cls.KIND in DOCUMENTS:
                raise TypeError(f"two document classes are called {cls.KIND}: a kind belongs to one class")
            DOCUMENTS[cls.KIND] = cls

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.id}"

    @property
    def kind(self) -> str:
        return type(self).KIND

    @property
    def contract(self) -> "type[Document]":
        """The class of its kind, of a tombstone too."""
        return type(self)

    @property
    def fingerprint(self) -> int:
        """What it adds (by XOR) to its owner's marker; nothing when deleted."""
        return 0 if self.deleted else fingerprint(self.key, self.revision)

    def tombstone(self) -> "Tombstone":
        """What is left of it once it is deleted."""
        return Tombstone(of=self.kind, id=self.id, revision=self.revision, together_until=self.together_until)


def fingerprint(key: str, revision: int) -> int:
    """What a live document adds to its owner's marker."""
    return int.from_bytes(hashlib.sha256(f"{key}@{revision}".encode()).digest(), "big")


class Tombstone(Document):
    """What is left of a deleted document: that it is gone since which revision, and nothing of what it said.

    It is kept for ever, so nothing of a person may be in it. Its record's type says its kind.
    """

    of: str = Field(exclude=True)
    deleted: bool = True

    @classmethod
    def of_kind(cls, kind: str, head: "DocumentHead") -> "Tombstone":
        return cls(of=kind, id=head.id, revision=head.revision, together_until=head.together_until)

    @property
    def kind(self) -> str:
        return self.of

    @property
    def contract(self) -> type[Document]:
        return DOCUMENTS[self.of]


class DocumentHead(Contract):
    """The part that a live document and a tombstone have in common: enough to tell which it is."""

    id: str
    revision: int
    deleted: bool = False
    together_until: int = 0


# catalog: owned by ticket


class RegisteredAccount(Document):
    KIND: ClassVar[str] = "registered_account"
    OWNER: ClassVar[str] = "ticket"
    NOUN: ClassVar[str] = "account"
    AWS_ID: ClassVar[bool] = True

    labels: dict[str, str] = {}
    protected_override: bool = False
    """Registered although it is the management, delegated-administrator or a protected account."""


class RegisteredSet(Document):
    KIND: ClassVar[str] = "registered_set"
    OWNER: ClassVar[str] = "ticket"
    NOUN: ClassVar[str] = "set"
    AWS_ID: ClassVar[bool] = True

    long_session_acknowledged: bool = False
    """An administrator accepted that credentials outlive the end by more than an hour."""


class SetGroup(Document):
    KIND: ClassVar[str] = "set_group"
    OWNER: ClassVar[str] = "ticket"
    NOUN: ClassVar[str] = "set_group"

    name: str
    sets: tuple[str, ...] = ()
    """Set ids."""


class AccessScope(Document):
    """Who may request which sets on which accounts, for how long."""

    KIND: ClassVar[str] = "scope"
    OWNER: ClassVar[str] = "ticket"
    NOUN: ClassVar[str] = "scope"

    name: str
    subjects: tuple[str, ...]
    verbs: tuple[Literal["request", "request_for"], ...] = ("request",)
    accounts: str
    sets: str
    max_duration: timedelta = timedelta(0)
    """Bound to this scope's own match; ignored by a deny, which denies any length."""
    effect: Literal["allow", "deny"] = "allow"
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


# rules: owned by approval


class RuleStage(Contract):
    approvers: tuple[str, ...]
    needed: Annotated[int, Field(ge=1)] = 1
    denials: Annotated[int, Field(ge=1)] = 1


class ApprovalRule(Document):
    KIND: ClassVar[str] = "rule"
    OWNER: ClassVar[str] = "approval"
    NOUN: ClassVar[str] = "rule"

    name: str
    accounts: str
    sets: str
    stages: tuple[RuleStage, ...] = ()
    always: bool = False
    """Its stages are added whatever other rule applies."""
    auto_approve_up_to: timedelta | None = None
    """Approves without votes up to this length; only by account or OU, never with stages."""
    reference_required: bool = False
    """A request under it names a change, an incident or the like."""


# inventory: owned by provisioner, read from AWS


class Account(Document):
    KIND: ClassVar[str] = "account"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    name: str
    state: str
    """AWS's own word: ACTIVE, SUSPENDED, PENDING_CLOSURE, CLOSED, PENDING_ACTIVATION."""
    ous: tuple[str, ...] = ()
    """Ids from the root down to the direct parent."""
    tags: dict[str, str] = {}
    management: bool = False
    delegated_administrator: bool = False

    def why_protected(self, listed: Collection[str]) -> str | None:
        """What it is that nobody registers by the way; `listed` are those of the settings."""
        if self.management:
            return "the management account"
        if self.delegated_administrator:
            return "the delegated administrator's account"
        return "listed in JIT_PROTECTED_ACCOUNTS" if self.id in listed else None


class OrganizationalUnit(Document):
    KIND: ClassVar[str] = "ou"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    name: str
    parent: str | None = None


class PermissionSet(Document):
    """`id` is AWS's own last part of the ARN (`ps-...`): a set made anew under an old name is another set."""

    KIND: ClassVar[str] = "set"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    arn: str
    name: str
    description: str = ""
    session_duration: timedelta = timedelta(hours=1)
    digest: str
    """Over everything that decides what the set allows, session length included."""
    summary: tuple[str, ...] = ()
    """What it allows, in a line each: managed policies' names, inline policy, boundary."""
    tags: dict[str, str] = {}

    @property
    def has_long_sessions(self) -> bool:
        """Whether sessions outlive the end of access by more than an hour, which an administrator accepts."""
        return self.session_duration > timedelta(hours=1)


class ExternalId(Contract):
    issuer: str
    id: str


class User(Document):
    KIND: ClassVar[str] = "user"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    user_name: str
    display_name: str = ""
    email: str | None = None
    enabled: bool = True
    external_ids: tuple[ExternalId, ...] = ()


class Group(Document):
    KIND: ClassVar[str] = "group"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    name: str


MEMBERSHIP_SHARDS: Final = 16
"""Of 20,000 members one shard is 60 kB, a fifteenth of what fits into a message; and a small group is few
documents. With another number people move between shards, and every group is written anew."""


class Membership(Document):
    """Those members of a group whose ids fall into one shard. Its id is `<group>/<shard>`.

    A person is in the same shard of every group for ever, so that a change of one membership is one document.
    """

    KIND: ClassVar[str] = "membership"
    OWNER: ClassVar[str] = "provisioner"
    AWS_ID: ClassVar[bool] = True

    members: tuple[str, ...]
    """User ids, sorted."""

    @property
    def group(self) -> str:
        return group_of_shard(self.id)

    @classmethod
    def shards(cls, group_id: str, members: Iterable[str]) -> "list[Membership]":
        """All members of a group; a shard without members is no document."""
        found: dict[str, list[str]] = {}
        for member in sorted(members):
            found.setdefault(shard_of(group_id, member), []).append(member)
        return [cls(id=shard, members=tuple(inside)) for shard, inside in sorted(found.items())]


def shard_of(group_id: str, user_id: str) -> str:
    """The id of the one document that says whether the person is in the group."""
    return f"{group_id}/{hashlib.sha256(user_id.encode()).digest()[0] % MEMBERSHIP_SHARDS:x}"


def shards_of(group_id: str) -> list[str]:
    """Ids of all documents that a group's members may be in."""
    return [f"{group_id}/{shard:x}" for shard in range(MEMBERSHIP_SHARDS)]


def group_of_shard(shard_id: str) -> str:
    return shard_id.rpartition("/")[0]


class Binding(Document):
    """Which user a token's subject is, for the whole system; `id` is `binding_id` of issuer and subject.

    Removed for ever where another sign-in took its place: such an id is never used again.
    """

    KIND: ClassVar[str] = "binding"
    OWNER: ClassVar[str] = "provisioner"

    iss: str
    sub: str
    user_id: str
    bound_at: AwareDatetime
    quiet_until: AwareDatetime | None = None
    """Of a rebinding: until then the user neither votes nor administers."""

    def quiets(self, at: datetime) -> bool:
        """Whether the user neither votes nor administers at that moment."""
        return self.quiet_until is not None and self.bound_at <= at < self.quiet_until


def binding_id(iss: str, sub: str) -> str:
    """One id for an issuer's subject, in the form of a document's id, whatever the two hold."""
    return hashlib.sha256(f"{len(iss)}:{iss}:{sub}".encode()).hexdigest()


class Marker(Contract):
    """An owner's statement of what a complete copy of its documents looks like.

    `count` and `digest` cover the documents that are not deleted; `digest` is the XOR of the SHA-256
    of each `key@revision`, so that it does not depend on order.
    """

    owner: str
    revision: int
    count: int
    digest: str
    at: AwareDatetime
    read_at: AwareDatetime | None = None
    """Since when the owner knows that its documents say what is true elsewhere (in AWS). None where they are
    true by themselves, or where not everything was read once."""


COUNTERS = {"ticket": "catalog", "approval": "rules", "provisioner": "inventory"}
"""The owner's counter in `Revisions`."""
