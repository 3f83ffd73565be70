"""Facts about configuration and access to JIT itself: catalogue and rule changes, denials, reads, operations.

The same types are published by whichever service owns the document, refused the call or was operated.
"""

from typing import Any, ClassVar

from shared.contracts.event import About, Event


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
        """The account that was registered, or those that a scope or rule names by id, before or after."""
        kind, _, document_id = self.document.partition("/")
        if kind == "registered_account":
            return About(account_ids=(document_id,))
        selectors = [str(body.get("accounts", "")) for body in (self.before, self.after) if body]
        named = {one.removeprefix("acct:") for one in selectors if one.startswith("acct:")}
        return About(account_ids=tuple(sorted(named)))


class AccountRegistered(ConfigurationFact):
    TYPE: ClassVar[str] = "account.registered.v1"


class AccountChanged(ConfigurationFact):
    TYPE: ClassVar[str] = "account.changed.v1"


class AccountRemoved(ConfigurationFact):
    TYPE: ClassVar[str] = "account.removed.v1"


class SetRegistered(ConfigurationFact):
    TYPE: ClassVar[str] = "set.registered.v1"


class SetChanged(ConfigurationFact):
    TYPE: ClassVar[str] = "set.changed.v1"


class SetRemoved(ConfigurationFact):
    TYPE: ClassVar[str] = "set.removed.v1"


class SetGroupRegistered(ConfigurationFact):
    TYPE: ClassVar[str] = "set_group.registered.v1"


class SetGroupChanged(ConfigurationFact):
    TYPE: ClassVar[str] = "set_group.changed.v1"


class SetGroupRemoved(ConfigurationFact):
    TYPE: ClassVar[str] = "set_group.removed.v1"


class ScopeRegistered(ConfigurationFact):
    TYPE: ClassVar[str] = "scope.registered.v1"


class ScopeChanged(ConfigurationFact):
    TYPE: ClassVar[str] = "scope.changed.v1"


class ScopeRemoved(ConfigurationFact):
    TYPE: ClassVar[str] = "scope.removed.v1"


class RuleRegistered(ConfigurationFact):
    TYPE: ClassVar[str] = "rule.registered.v1"


class RuleChanged(ConfigurationFact):
    TYPE: ClassVar[str] = "rule.changed.v1"


class RuleRemoved(ConfigurationFact):
    TYPE: ClassVar[str] = "rule.removed.v1"


class AuthzDenied(Event):
    """Somebody was told no. `subject` is the ticket id where there is one, else the caller's id."""

    TYPE: ClassVar[str] = "authz.denied.v1"

    verb: str
    code: str
    """The guard or policy code that said no."""
    rules: tuple[str, ...] = ()
    route: str = ""
    object_id: str | None = None

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
