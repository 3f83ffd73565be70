"""Allow-lists: which fields of a contract may reach the audit log, down to the last nested one.

A field that is not named here is not kept, so a contract that grows leaks nothing by itself. A test
(tests/audit/test_registry.py) fails until somebody has decided about a new field: here, or in LEFT_OUT.
"""

from typing import Any, Final, TypeAlias

from shared.contracts.approval import ReviewStageOpened, Stage, Vote
from shared.contracts.description import Description
from shared.contracts.event import Actor, Contract, Revisions
from shared.contracts.extension import Extension
from shared.contracts.notification import Mail
from shared.contracts.people import Person
from shared.contracts.stop import StoppedTarget
from shared.contracts.ticket import Grant, Target, Ticket
from shared.contracts.windows import Window, WindowAsked

Allowed: TypeAlias = dict[str, Any]
"""In the form of pydantic's `include`: field to True, or to the allow-list of what is inside."""


def only(*names: str, **nested: Allowed) -> Allowed:
    return {**dict.fromkeys(names, True), **nested}


def each(allowed: Allowed) -> Allowed:
    """The same list for every item."""
    return {"__all__": allowed}


REVISIONS: Final = only("catalog", "rules", "inventory")
WINDOW: Final = only("starts_at", "ends_at")
WINDOW_ASKED: Final = only("starts_at", "ends_at", "duration")
PERSON: Final = only("user_id", "user_name", "email")
ACTOR: Final = only("kind", "name", "user_id", "iss", "sub", "client", "ip", "auth_time", "acr")
TARGET: Final = only(
    "id", "account_id", "account_name", "set_id", "set_name", "set_digest", "set_group",
    "session_duration", "state", "revision", "subject_id", "reason", "submitted_at", "expires_at",
    "decided_at", window=WINDOW, asked=WINDOW_ASKED,
)  # fmt: skip
GRANT: Final = only(
    "id", "target_id", "revision", "beneficiary", "ends_at", "state", "code", "detail", "granted_at",
    "ended_at", "kept_by", "already_held", "credentials_until",
)  # fmt: skip
EXTENSION: Final = only(
    "id", "target_id", "revision", "grants", "ends_at", "reason", "submitted_at", "expires_at", "state",
    "code", "decided_at", requested_by=PERSON, window=WINDOW,
)  # fmt: skip
DESCRIPTION: Final = only("reference", "link")
TICKET: Final = DESCRIPTION | only(
    "id", "instance", "version", "submitted_at", "state", "credentials_until", "closed_at",
    requester=PERSON, beneficiaries=each(PERSON), targets=each(TARGET), grants=each(GRANT),
    extensions=each(EXTENSION), revisions=REVISIONS,
)  # fmt: skip
STOPPED_TARGET: Final = only("id", "revision")
STAGE: Final = only("rule_id", "index", "approvers", "needed", "denials")
VOTE: Final = only(
    "id", "stage", "verdict", "acting_for", "comment", "proof", "at", voter=PERSON, revisions=REVISIONS
)
MAIL: Final = only("recipient", "address", "message_id", "at")

BASE: Final = only("subject", "version", "why", "cause", "at", actor=ACTOR)
"""Of every event."""

NESTED: Final[dict[type[Contract], Allowed]] = {
    Actor: ACTOR,
    Revisions: REVISIONS,
    Person: PERSON,
    Window: WINDOW,
    WindowAsked: WINDOW_ASKED,
    Target: TARGET,
    Grant: GRANT,
    Extension: EXTENSION,
    Description: DESCRIPTION,
    Ticket: TICKET,
    StoppedTarget: STOPPED_TARGET,
    Stage: STAGE,
    Vote: VOTE,
    Mail: MAIL,
}
"""The list of each contract that events hold inside; for the test."""

LEFT_OUT: Final[dict[type[Contract], frozenset[str]]] = {
    Person: frozenset({"display_name"}),
    ReviewStageOpened: frozenset({"other_grants_listed", "earlier_rejections_listed"}),
}
"""Fields that were decided against: a name for reading adds nothing to the id and the user name, and what an
approver is shown of other tickets is recorded with those, where their parties and no others find it."""
