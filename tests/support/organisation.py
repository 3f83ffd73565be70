"""A small organisation as compacted documents: enough for every rule, small enough to know by heart.

Accounts P (prod), S (prod, pci) and D (dev) under one root; the people of the demo; scopes and rules so
that ann may ask for admin on D and P and carl then dora decide on P.
"""

from collections.abc import Sequence
from datetime import timedelta

from shared.contracts import documents as doc

ROOT, OU_PROD, OU_DEV = "ou-root", "ou-prod", "ou-dev"
P, S, D, MANAGEMENT, SUSPENDED = (
    "111111111111",
    "333333333333",
    "222222222222",
    "999999999999",
    "444444444444",
)
ADMIN, READ, LONG = "ps-00000000000000ad", "ps-00000000000000ae", "ps-00000000000000af"
ELEVATED = "elevated"
ISSUER = "https://issuer.test"

PEOPLE = {
    "ann": ("dev",),
    "bob": ("dev", "managers"),
    "carl": ("owners-prod",),
    "cora": ("owners-prod",),
    "dora": ("secops",),
    "eve": ("dev", "contractors"),
    "root": ("admins",),
    "aud": ("auditors",),
    "gone": ("dev",),
}
"""User name to groups; `gone` is disabled."""


def user_id(name: str) -> str:
    return f"user-{name}"


def group_id(name: str) -> str:
    return f"group-{name}"


def user(name: str) -> doc.User:
    return doc.User(
        id=user_id(name),
        user_name=name,
        display_name=name.title(),
        email=f"{name}@example.com",
        enabled=name != "gone",
        external_ids=(doc.ExternalId(issuer=ISSUER, id=f"ext-{name}"),),
    )


def permission_set(set_id: str, name: str, *, session: timedelta = timedelta(hours=1)) -> doc.PermissionSet:
    return doc.PermissionSet(
        id=set_id,
        arn=f"arn:aws:sso:::permissionSet/ssoins-0000000000000001/{set_id}",
        name=name,
        session_duration=session,
        digest=f"digest-{name}",
        summary=(f"{name} policy",),
    )


def inventory() -> list[doc.Document]:
    groups = sorted({group for groups in PEOPLE.values() for group in groups})
    return [
        doc.OrganizationalUnit(id=ROOT, name="Root"),
        doc.OrganizationalUnit(id=OU_PROD, name="prod", parent=ROOT),
        doc.OrganizationalUnit(id=OU_DEV, name="dev", parent=ROOT),
        doc.Account(id=P, name="prod-payments", state="ACTIVE", ous=(ROOT, OU_PROD), tags={"env": "prod"}),
        doc.Account(
            id=S, name="prod-cards", state="ACTIVE", ous=(ROOT, OU_PROD), tags={"env": "prod", "pci": "yes"}
        ),
        doc.Account(id=D, name="dev-web", state="ACTIVE", ous=(ROOT, OU_DEV), tags={"env": "dev"}),
        doc.Account(id=MANAGEMENT, name="management", state="ACTIVE", ous=(ROOT,), management=True),
        doc.Account(id=SUSPENDED, name="old", state="SUSPENDED", ous=(ROOT, OU_DEV)),
        permission_set(ADMIN, "Administrator"),
        permission_set(READ, "ReadOnly"),
        permission_set(LONG, "Analyst", session=timedelta(hours=12)),
        *(user(name) for name in PEOPLE),
        *(doc.Group(id=group_id(group), name=group) for group in groups),
        *(
            shard
            for group in groups
            for shard in doc.Membership.shards(
                group_id(group), (user_id(n) for n in PEOPLE if group in PEOPLE[n])
            )
        ),
    ]


def members(group: str, *user_ids: str, revision: int = 0) -> list[doc.Membership]:
    """All shards of a group, empty ones too: these are in it, and nobody else."""
    filled = {shard.id: shard.members for shard in doc.Membership.shards(group, user_ids)}
    return [
        doc.Membership(id=shard, members=filled.get(shard, ()), revision=revision)
        for shard in doc.shards_of(group)
    ]


def scope(scope_id: str, who: str, accounts: str, sets: str, hours: float, **more: object) -> doc.AccessScope:
    return doc.AccessScope(
        id=scope_id,
        name=scope_id,
        subjects=(f"group:{group_id(who)}",),
        accounts=accounts,
        sets=sets,
        max_duration=timedelta(hours=hours),
        **more,
    )


def catalog() -> list[doc.Document]:
    return [
        *(doc.RegisteredAccount(id=account) for account in (P, S, D)),
        *(doc.RegisteredSet(id=set_id) for set_id in (ADMIN, READ)),
        doc.RegisteredSet(id=LONG, long_session_acknowledged=True),
        doc.SetGroup(id=ELEVATED, name="elevated", sets=(ADMIN,)),
        scope("dev-admin", "dev", f"ou:{OU_DEV}", f"psg:{ELEVATED}", 8),
        scope("prod-admin", "dev", "tag:env=prod", f"ps:{ADMIN}", 1),
        scope("read", "dev", "*", f"ps:{READ}", 24),
        scope("for-others", "managers", "*", "*", 8, verbs=("request_for",)),
        scope("no-contractors", "contractors", "tag:env=prod", "*", 0, effect="deny"),
    ]


def stage(*groups: str, needed: int = 1, denials: int = 1) -> doc.RuleStage:
    return doc.RuleStage(
        approvers=tuple(f"group:{group_id(group)}" for group in groups), needed=needed, denials=denials
    )


def rules() -> list[doc.Document]:
    return [
        doc.ApprovalRule(
            id="prod", name="production", accounts=f"ou:{OU_PROD}", sets="*",
            stages=(stage("owners-prod"), stage("secops")),
        ),
        doc.ApprovalRule(
            id="dev", name="development", accounts=f"ou:{OU_DEV}", sets="*", stages=(stage("managers"),)
        ),
        doc.ApprovalRule(
            id="dev-read", name="reading in development", accounts=f"ou:{OU_DEV}", sets=f"ps:{READ}",
            auto_approve_up_to=timedelta(hours=4),
        ),
    ]  # fmt: skip


ROLES = {"admin": frozenset({group_id("admins")}), "auditor": frozenset({group_id("auditors")})}


def numbered(documents: Sequence[doc.Document]) -> list[doc.Document]:
    """With revisions 1, 2, 3..., as an owner would have published them."""
    return [document.model_copy(update={"revision": n}) for n, document in enumerate(documents, start=1)]


def replaced(owner: str, *documents: doc.Document) -> list[doc.Document]:
    """Everything of an owner, with these in the place of those with their keys."""
    keys = {document.key for document in documents}
    return [*(one for one in everything()[owner] if one.key not in keys), *documents]


def everything() -> dict[str, list[doc.Document]]:
    """All documents by owner, numbered."""
    return {
        "ticket": numbered(catalog()),
        "approval": numbered(rules()),
        "provisioner": numbered(inventory()),
    }
