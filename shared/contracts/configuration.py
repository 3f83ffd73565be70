"""Facts about configuration and access to JIT itself: catalog and rule changes, denials, reads, operations.

The same types are published by whichever service owns the document, refused the call or was operated.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final

from pydantic import AwareDatetime

from shared.contracts.documents import DOCUMENTS, Document
from shared.contracts.event import About, Actor, Event

_ACCOUNT_ID: Final = re.compile(r"[0-9]{12}")


class ConfigurationFact(Event):
    """A document changed. `before` and `after` are the document's body; None where there was or is none."""

    document: str
    """`<kind>/<id>`"""
    name: str = ""
    revision: int
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def about(self) -> About:
        """The account whose document it is, or those that a scope or rule names by id, before or after."""
        kind, _, document_id = self.document.partition("/")
        if DOCUMENTS[kind].AWS_ID and _ACCOUNT_ID.fullmatch(document_id):
            return About(account_ids=(document_id,))
        selectors = [str(body.get("accounts", "")) for body in (self.before, self.after) if body]
        named = {one.removeprefix("acct:") for one in selectors if one.startswith("acct:")}
        return About(account_ids=tuple(sorted(named)))


@dataclass(frozen=True)
class Facts:
    """The three facts about one kind of document."""

    registered: type[ConfigurationFact]
    changed: type[ConfigurationFact]
    removed: type[ConfigurationFact]


@cache
def facts_of(document: type[Document]) -> Facts:
    """The facts about changes of a document, made from its noun: `scope.changed.v1` and so on."""
    return Facts(*(_fact(document.NOUN, what) for what in ("registered", "changed", "removed")))


def _fact(noun: str, what: str) -> type[ConfigurationFact]:
    class Fact(ConfigurationFact):
        TYPE: ClassVar[str] = f"{noun}.{what}.v1"

    Fact.__name__ = Fact.__qualname__ = f"{noun.title().replace('_', '')}{what.title()}"
    return Fact


for _document in DOCUMENTS.values():
    if _document.NOUN:
        facts_of(_document)


class AuthzDenied(Event):
    """Somebody was told no. `subject` is the ticket id where there is one, else the caller's id.

    The first refusal is told at once; those like it are counted and told together, once a minute. `at`, route
    and cause are the last one's.
    """

    TYPE: ClassVar[str] = "authz.denied.v1"

    verb: str
    """The right that was missing; `several` where more kinds of refusals came than are told one by one."""
    code: str
    """The guard or policy code that said no."""
    rules: tuple[str, ...] = ()
    route: str = ""
    object_id: str | None = None
    count: int = 1
    """How many refusals this tells of: same person, code, right and object."""
    since: AwareDatetime | None = None
    """When the first of several was."""

    @property
    def about(self) -> About:
        return About(self.subject if self.subject != self.actor.user_id else None)


class AuditRead(Event):
    """Somebody looked into the audit log; `subject` is the reader's id."""

    TYPE: ClassVar[str] = "audit.read.v1"

    query: dict[str, str] = {}
    returned: int = 0


class OperationRequested(Event):
    """An administrator has something sent or handled again, and this comes first; `subject` is their id."""

    TYPE: ClassVar[str] = "operation.requested.v1"

    operation: str
    """`dead_letter.replay`, `outbox.replay` or `documents.republish`."""
    detail: str = ""
    """Which letter, or since when."""


class InventoryConfirmed(Event):
    """Much was gone from AWS at once, and an administrator says that it is; `subject` is their id."""

    TYPE: ClassVar[str] = "inventory.confirmed.v1"

    removed: dict[str, int]
    """Kind of document to how many of it were taken out of the inventory, in all."""


SUBJECT_OF_PAUSES: Final = "grants"
"""Of all of them, so that they stand in one partition, in their order."""


class GrantsPaused(Event):
    """An administrator lets no grant begin and no end move from now on; what takes access away goes on."""

    TYPE: ClassVar[str] = "grants.paused.v1"


class GrantsResumed(Event):
    """An administrator lets grants begin again."""

    TYPE: ClassVar[str] = "grants.resumed.v1"

    paused_at: AwareDatetime
    """Since when they had been paused."""
    paused_by: Actor
    paused_why: str


class RevocationOrdered(Event):
    """An administrator ended all access of a ticket, a user or an account; each grant has facts besides.

    Said also where nothing was live. `subject` is the administrator's id.
    """

    TYPE: ClassVar[str] = "revocation.ordered.v1"

    ticket_id: str | None = None
    user_id: str | None = None
    account_id: str | None = None
    ended: tuple[str, ...] = ()
    """Ids of the grants that were open."""

    @property
    def about(self) -> About:
        accounts = (self.account_id,) if self.account_id is not None else ()
        parties = (self.user_id,) if self.user_id is not None else ()
        return About(self.ticket_id, accounts, parties)
