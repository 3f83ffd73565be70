"""The table of topics: each has exactly one owner. Docs, ACLs, creation and tests come from here."""

from dataclasses import dataclass
from typing import Final, Literal

from shared.contracts.documents import DOCUMENTS
from shared.foundation.errors import Bug

Cleanup = Literal["delete", "compact"]

TICKET: Final = "jit.ticket.v1"
STOP: Final = "jit.stop.v1"
APPROVAL: Final = "jit.approval.v1"
ACCESS: Final = "jit.access.v1"
NOTIFICATION: Final = "jit.notification.v1"
AUDIT_OCSF: Final = "jit.audit.ocsf.v1"
CATALOG: Final = "jit.catalog.v1"
RULES: Final = "jit.rules.v1"
INVENTORY: Final = "jit.inventory.v1"


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. A compacted topic has one partition, so that a marker follows what it counts."""

    name: str
    owner: str
    key: str
    partitions: int
    cleanup: Cleanup
    readers: tuple[str, ...]
    content: str
    facts: tuple[str, ...] = ()
    """The nouns its event types begin with, beside those of its owner's documents."""
    stops: tuple[str, ...] = ()
    """Names of the facts, without version, that stand here only, with nothing else beside them."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The documents that are this topic's; one of another kind is its owner overreaching."""
        owned = (kind for kind, document in DOCUMENTS.items() if self.owner == document.OWNER)
        return tuple(owned) if self.cleanup == "compact" else ()

    def takes(self, event_type: str) -> bool:
        """Whether a fact of this type may stand here; one about another's noun is its owner overreaching."""
        name, noun = event_type.rpartition(".")[0], event_type.partition(".")[0]
        if self.stops or name in STOPS:
            return name in self.stops
        return self.cleanup == "delete" and noun in {*self.facts, *_documents_of(self.owner), *_ANYBODYS}


def _documents_of(owner: str) -> frozenset[str]:
    return frozenset(document.NOUN for document in DOCUMENTS.values() if owner == document.OWNER)


_ANYBODYS: Final = ("authz", "operation")
"""Whoever refuses a call, or is operated, says so. `audit` is nobody's: the log notes its readers itself."""
STOPS: Final = ("ticket.terminated", "ticket.returned", "ticket.withdrawn")
"""What takes access away waits for nothing else, so it has a road of its own."""
_ALL: Final = ("ticket", "approval", "provisioner", "notifier", "audit")

TOPICS: Final = {
    topic.name: topic
    for topic in (
        Topic(
            TICKET,
            "ticket",
            "ticket id",
            12,
            "delete",
            ("approval", "provisioner", "notifier", "audit"),
            "ticket facts, each with the ticket's head and the targets it is about; catalog, scope changes",
            facts=("ticket",),
        ),
        Topic(
            STOP,
            "ticket",
            "ticket id",
            12,
            "delete",
            ("approval", "provisioner", "notifier", "audit"),
            "stops; each names every grant it means and is readable from these ids alone",
            stops=STOPS,
        ),
        Topic(
            APPROVAL,
            "approval",
            "ticket id",
            12,
            "delete",
            ("ticket", "provisioner", "notifier", "audit"),
            "review facts, rule changes; review.approved is the provisioner's witness",
            facts=("review",),
        ),
        Topic(
            ACCESS,
            "provisioner",
            "ticket id",
            12,
            "delete",
            ("ticket", "notifier", "audit"),
            "access facts, among them the expiry producer's revoke events; pauses, revocations, confirmed "
            "losses; who tokens name",
            facts=("access", "grants", "inventory", "identity", "revocation"),
        ),
        Topic(
            NOTIFICATION,
            "notifier",
            "ticket id",
            12,
            "delete",
            ("audit",),
            "mails that were sent or given up, those about the same in one fact, without their text",
            facts=("notification",),
        ),
        Topic(
            AUDIT_OCSF,
            "audit",
            "ticket id",
            12,
            "delete",
            (),
            "OCSF 1.8.0 events for SIEMs outside",
        ),
        Topic(
            CATALOG,
            "ticket",
            "document key",
            1,
            "compact",
            _ALL,
            "registered accounts and sets, set groups, access scopes, sensitive marks",
        ),
        Topic(
            RULES,
            "approval",
            "document key",
            1,
            "compact",
            _ALL,
            "approval rules",
        ),
        Topic(
            INVENTORY,
            "provisioner",
            "document key",
            1,
            "compact",
            _ALL,
            "accounts, OUs, tags, permission sets, users, groups, memberships, bindings",
        ),
    )
}

COMPACTED: Final = tuple(topic for topic in TOPICS.values() if topic.cleanup == "compact")


def topic_of(service: str, event_type: str) -> str:
    """The topic that a service's facts of this type go to."""
    for topic in TOPICS.values():
        if topic.owner == service and topic.takes(event_type):
            return topic.name
    raise Bug(f"{event_type} is not {service}'s to say; this is a bug", code="topic_owner")


def documents_topic(service: str) -> str:
    """The compacted topic a service's documents go to."""
    return next(topic.name for topic in COMPACTED if topic.owner == service)
