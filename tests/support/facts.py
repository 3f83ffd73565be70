"""One believable example of every event, with fixed ids and times: `example(TicketSubmitted)`.

For golden files, the audit log's mapping and whoever needs some event. A new event class needs a line in
`_FIELDS`; tests/contracts/test_golden.py says so.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from shared.contracts.access import (
    AccessExtended,
    AccessExtensionFailed,
    AccessFact,
    AccessFailed,
    AccessGranted,
    AccessReleased,
    AccessRevoked,
    AccessRevokeDue,
    AccessRevokeOverdue,
    AccessScheduled,
)
from shared.contracts.approval import (
    ReviewApproved,
    ReviewDecided,
    ReviewFact,
    ReviewOpened,
    ReviewRejected,
    ReviewStageOpened,
    Stage,
)
from shared.contracts.configuration import (
    SUBJECT_OF_PAUSES,
    AuditRead,
    AuthzDenied,
    ConfigurationFact,
    GrantsPaused,
    GrantsResumed,
    InventoryConfirmed,
    OperationRequested,
    RevocationOrdered,
)
from shared.contracts.event import Actor, Event
from shared.contracts.extension import ExtensionState
from shared.contracts.identity import IdentityConflictFound, IdentityFact, IdentityRebound
from shared.contracts.notification import Mail, NotificationFact, NotificationFailed
from shared.contracts.registry import EVENTS
from shared.contracts.stop import StopFact, StoppedTarget, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    GrantState,
    TargetState,
    Ticket,
    TicketApproved,
    TicketClosed,
    TicketExtensionApproved,
    TicketExtensionRejected,
    TicketExtensionRequested,
    TicketFact,
    TicketRejected,
    TicketRevised,
    TicketState,
    TicketSubmitted,
    TicketTimedOut,
)
from tests.support.fact_parts import (
    AWS_REQUEST_ID,
    CONFLICT_ID,
    DOCUMENTS,
    EXTENDED,
    EXTENSION_ID,
    GRANT_ID,
    REQUEST_ID,
    REVIEW_ID,
    REVISIONS,
    SUBJECT_ID,
    TARGET_ID,
    TICKET_ID,
    WINDOW,
    extended,
    person,
    somebody,
    ticket,
    vote,
)
from tests.support.harness import NOW
from tests.support.organisation import ADMIN, ISSUER, P, user_id

__all__ = [
    "GRANT_ID",
    "REQUEST_ID",
    "REVIEW_ID",
    "TARGET_ID",
    "TICKET_ID",
    "WINDOW",
    "contract_events",
    "example",
    "person",
    "somebody",
    "ticket",
]

E = TypeVar("E", bound=Event)


def example(cls: type[E]) -> E:
    """The example of an event class; the same one every time."""
    for base, fields in _FIELDS.items():
        if issubclass(cls, base):
            return cls.model_validate({**_common(cls), **_family(cls), **fields})
    return cls.model_validate({**_common(cls), **_family(cls)})


def contract_events() -> list[type[Event]]:
    """Every event class of shared/contracts, and none that a test has made up."""
    return [cls for cls in EVENTS.values() if cls.__module__.startswith("shared.contracts.")]


def _common(cls: type[Event]) -> dict[str, Any]:
    return {
        "subject": TICKET_ID,
        "version": 2,
        "actor": _actor(cls),
        "why": f"an example of {cls.TYPE}",
        "cause": REQUEST_ID,
        "at": NOW + timedelta(minutes=10),
    }


def _actor(cls: type[Event]) -> Actor:
    """Persons decide; services carry out."""
    if issubclass(cls, ReviewDecided):
        return somebody("carl")
    operated = OperationRequested | InventoryConfirmed | GrantsPaused | GrantsResumed | RevocationOrdered
    if issubclass(cls, ConfigurationFact | TicketTerminated | operated):
        return somebody("root")
    if issubclass(cls, IdentityFact):
        return somebody("root" if cls is IdentityRebound else "ann")
    asked = TicketSubmitted | TicketRevised | TicketExtensionRequested
    if issubclass(cls, asked | TicketWithdrawn | TicketReturned | AuthzDenied):
        return somebody("ann")
    if issubclass(cls, AuditRead):
        return somebody("aud")
    services: tuple[tuple[type[Event], str], ...] = (
        (ReviewFact, "approval"),
        (AccessFact, "provisioner"),
        (NotificationFact, "notifier"),
    )
    return Actor.service(next((name for base, name in services if issubclass(cls, base)), "ticket"))


def _family(cls: type[Event]) -> dict[str, Any]:
    """What all facts of a noun have."""
    if issubclass(cls, TicketFact):
        return {"ticket": _TICKETS[cls], "target_ids": (TARGET_ID,)}
    if issubclass(cls, StopFact):
        return {
            "ticket_id": TICKET_ID, "grant_ids": (GRANT_ID,), "ends_by": WINDOW.ends_at,
            "targets": (StoppedTarget(id=TARGET_ID, revision=1),), "ticket": _TICKETS[cls],
        }  # fmt: skip
    if issubclass(cls, ReviewFact):
        return {
            "review_id": REVIEW_ID, "ticket_id": TICKET_ID, "target_id": TARGET_ID, "account_id": P,
            "revision": 1, "subject_id": SUBJECT_ID, "subject_kind": "target",
            "ticket_version": 1,
        }  # fmt: skip
    if issubclass(cls, AccessFact):
        return {
            "ticket_id": TICKET_ID, "grant_id": GRANT_ID, "target_id": TARGET_ID, "instance": "default",
            "user_id": user_id("ann"), "account_id": P, "set_id": ADMIN, "ends_at": WINDOW.ends_at,
        }  # fmt: skip
    if issubclass(cls, NotificationFact):
        return {
            "ticket_id": TICKET_ID, "event_ids": ("0195556a-0000-7000-8000-000000000008",),
            "template": "approval_needed", "attempts": 1, "mails": (_mail("carl"), _mail("cora")),
        }  # fmt: skip
    if issubclass(cls, IdentityFact):
        return {"subject": user_id("ann"), "iss": ISSUER, "sub": "sub-ann", "user_id": user_id("ann")}
    return _change(cls) if issubclass(cls, ConfigurationFact) else {}


def _mail(name: str) -> Mail:
    return Mail(
        recipient=user_id(name),
        address=f"{name}@example.com",
        message_id=f"<0195556a-0000-7000-8000-000000000008.{name}@jit>",
        at=_at(minutes=10),
    )


def _change(cls: type[ConfigurationFact]) -> dict[str, Any]:
    """A document made, changed or removed, by the words of the type's name."""
    noun, verb, _version = cls.TYPE.split(".")
    before, after = DOCUMENTS[noun]
    return {
        "subject": after.id,
        "document": after.key,
        "name": getattr(after, "name", ""),
        "revision": after.revision,
        "before": None if verb == "registered" else before.model_dump(mode="json"),
        "after": None if verb == "removed" else after.model_dump(mode="json"),
    }


def _at(**after: float) -> datetime:
    return NOW + timedelta(**after)


_REVOKED: Final = {"granted_at": _at(minutes=10), "ended_at": _at(minutes=60), "code": "terminated"}
_TICKETS: Final[Mapping[type[TicketFact | StopFact], Ticket]] = {
    TicketSubmitted: ticket(),
    TicketApproved: ticket(TargetState.APPROVED, GrantState.SCHEDULED, TicketState.SCHEDULED),
    TicketRejected: ticket(TargetState.REJECTED, state=TicketState.REJECTED),
    TicketRevised: ticket(),
    TicketExtensionRequested: extended(ExtensionState.PENDING),
    TicketExtensionApproved: extended(ExtensionState.APPROVED, window=EXTENDED, decided_at=_at(minutes=55)),
    TicketExtensionRejected: extended(ExtensionState.REJECTED, code="rejected", decided_at=_at(minutes=55)),
    TicketTimedOut: ticket(TargetState.TIMED_OUT, state=TicketState.TIMED_OUT),
    TicketWithdrawn: ticket(TargetState.WITHDRAWN, state=TicketState.WITHDRAWN),
    TicketTerminated: ticket(TargetState.APPROVED, GrantState.REVOKING, TicketState.REVOKING),
    TicketReturned: ticket(TargetState.APPROVED, GrantState.REVOKING, TicketState.REVOKING),
    TicketClosed: ticket(TargetState.APPROVED, GrantState.REVOKED, TicketState.CLOSED, **_REVOKED),
}
_APPROVED: Final = _TICKETS[TicketApproved]
_HASH: Final = _APPROVED.subject_of(_APPROVED.targets[0]).content_hash(WINDOW)
_LIVE: Final = _TICKETS[TicketExtensionApproved]
_EXTENSION: Final = _LIVE.extension_subject(_LIVE.extensions[0])
assert _EXTENSION is not None, "the example's target is approved in the revision it extends"

_FIELDS: Final[Mapping[type[Event], dict[str, Any]]] = {
    TicketSubmitted: {"allowed_by": ("prod-admin",), "target_ids": ()},
    TicketApproved: {"content_hash": _HASH},
    TicketExtensionRequested: {"extension_id": EXTENSION_ID, "grant_ids": (GRANT_ID,)},
    TicketExtensionApproved: {
        "extension_id": EXTENSION_ID, "grant_ids": (GRANT_ID,),
        "content_hash": _EXTENSION.content_hash(EXTENDED),
    },
    TicketExtensionRejected: {
        "extension_id": EXTENSION_ID, "grant_ids": (GRANT_ID,), "code": "rejected",
    },
    ReviewOpened: {
        "stages": (
            Stage(rule_id="prod", index=1, approvers=("group:group-owners-prod",), needed=1),
            Stage(rule_id="prod", index=2, approvers=("group:group-secops",), needed=1),
        ),
        "expires_at": _at(hours=24),
        "revisions": REVISIONS,
    },
    ReviewStageOpened: {
        "stage": 1, "stages": 2, "needed": 1, "approvers": (person("carl"), person("cora")),
        "other_grants": 1, "earlier_rejections": 0,
    },
    ReviewDecided: {"vote": vote("approve")},
    ReviewApproved: {
        "window": WINDOW, "content_hash": _HASH, "votes": (vote("approve"),), "revisions": REVISIONS,
    },
    ReviewRejected: {"code": "rejected", "votes": (vote("reject"),)},
    AccessScheduled: {"starts_at": WINDOW.starts_at},
    AccessGranted: {"request_id": AWS_REQUEST_ID, "credentials_until": _at(minutes=129)},
    AccessFailed: {
        "code": "no_witness", "detail": "the approval's own statement did not arrive",
        "request_id": AWS_REQUEST_ID,
    },
    AccessExtended: {
        "subject_id": EXTENSION_ID, "ends_at": EXTENDED.ends_at, "ended_before": WINDOW.ends_at,
        "credentials_until": EXTENDED.ends_at + timedelta(hours=1),
    },
    AccessExtensionFailed: {
        "subject_id": EXTENSION_ID, "code": "stopped", "detail": "it was terminated before",
    },
    AccessRevokeDue: {"cause_of_end": "expired", "late_by": timedelta(milliseconds=40)},
    AccessRevoked: {
        "cause_of_end": "expired", "request_id": AWS_REQUEST_ID, "late_by": timedelta(seconds=2),
        "credentials_until": _at(minutes=129), "also_through": ("group-dev",),
    },
    AccessReleased: {
        "cause_of_end": "expired", "kept_by": ("0195556a-0000-7000-8000-000000000009",),
        "credentials_until": _at(minutes=200),
    },
    AccessRevokeOverdue: {"overdue_by": timedelta(minutes=5), "last_error": "ThrottlingException"},
    AuthzDenied: {
        "verb": "terminate", "code": "not_permitted", "rules": ("scope/no-contractors",),
        "route": f"POST /v1/tickets/{TICKET_ID}/terminate", "object_id": TICKET_ID,
        "count": 3, "since": _at(minutes=9),
    },
    AuditRead: {
        "subject": user_id("aud"), "query": {"route": "events", "ticket_id": TICKET_ID}, "returned": 17,
    },
    OperationRequested: {
        "subject": user_id("root"), "operation": "outbox.replay", "detail": "since 2026-03-02T08:00:00+00:00",
    },
    InventoryConfirmed: {"subject": user_id("root"), "removed": {"group": 1, "user": 16}},
    GrantsPaused: {"subject": SUBJECT_OF_PAUSES},
    GrantsResumed: {
        "subject": SUBJECT_OF_PAUSES, "paused_at": _at(minutes=-30), "paused_by": somebody("root"),
        "paused_why": "approvals came that nobody remembers",
    },
    RevocationOrdered: {"subject": user_id("root"), "user_id": user_id("ann"), "ended": (GRANT_ID,)},
    IdentityConflictFound: {"conflict_id": CONFLICT_ID, "bound_sub": "sub-ann-before"},
    IdentityRebound: {
        "conflict_id": CONFLICT_ID, "bound_user_id": "user-ann-before", "bound_sub": "sub-ann-before",
        "quiet_until": _at(hours=24),
    },
    NotificationFailed: {"smtp_code": 550, "detail": "no such mailbox"},
}  # fmt: skip
"""Event class to the fields only it has."""
