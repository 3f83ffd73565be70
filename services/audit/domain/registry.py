"""The one table of what is audited: every event type, its OCSF class and activity, and its allow-list.

A new event type needs one entry here and nothing else in this service; tests/audit/test_registry.py fails
until it has it. Codes are event types without their version; they are never renamed or reused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from services.audit.domain import ocsf, shapes
from services.audit.domain.allowed import (
    ACTOR,
    MAIL,
    PERSON,
    REVISIONS,
    STAGE,
    STOPPED_TARGET,
    TICKET,
    VOTE,
    WINDOW,
    Allowed,
    each,
    only,
)
from services.audit.domain.ocsf import Disposition, Json, OcsfClass, Severity, Status
from shared.configuration.kind import Kind
from shared.configuration.kinds.every import KINDS
from shared.contracts import access, approval, configuration, identity, notification, stop, ticket
from shared.contracts.event import Event

Shape: TypeAlias = Callable[[Json], Json]


@dataclass(frozen=True)
class RegistryEntry:
    """What becomes of one event type."""

    event: type[Event]
    when: str
    """What it says; for the reference page."""
    ocsf: OcsfClass
    activity_id: int
    activity_name: str
    shape: Shape
    fields: Allowed
    """The event's own fields that are kept; those of every event are in allowed.BASE."""
    severity: Severity = Severity.INFORMATIONAL
    status: Status = Status.SUCCESS
    disposition: Disposition | None = None

    @property
    def code(self) -> str:
        return code_of(self.event)


def code_of(cls: type[Event]) -> str:
    """`ticket.submitted` of `ticket.submitted.v1`."""
    return cls.TYPE.rpartition(".")[0]


TRANSLATION_FAILED: Final = "audit.translation_failed"
"""The code of a record whose event could not be mapped; the only one without an event type of its own."""

_FACT = only("target_ids", "grant_ids", ticket=TICKET)
_STOP = only("ticket_id", "grant_ids", "ends_by", targets=each(STOPPED_TARGET), ticket=TICKET)
_REVIEW = only(
    "review_id", "ticket_id", "target_id", "account_id", "revision", "subject_id", "subject_kind",
    "ticket_version",
)  # fmt: skip
_CLAIM = only("ticket_id", "grant_id", "target_id", "instance", "user_id", "account_id", "set_id", "ends_at")
_DOCUMENT = only("document", "name", "revision", "before", "after")
_BINDING = only("iss", "sub", "user_id")
_CONFLICT = only("conflict_id", "bound_user_id", "bound_sub")
_MAILS_OF = only("ticket_id", "event_ids", "template", "attempts", mails=each(MAIL))


def _ticket(
    event: type[Event],
    when: str,
    activity_id: int,
    activity_name: str,
    *,
    more: Allowed | None = None,
    shape: Shape = shapes.ticket,
    disposition: Disposition | None = None,
) -> RegistryEntry:
    return RegistryEntry(
        event, when, ocsf.ENTITY_MANAGEMENT, activity_id, activity_name, shape, _FACT | (more or {}),
        disposition=disposition,
    )  # fmt: skip


def _stop(
    event: type[Event],
    when: str,
    *,
    severity: Severity = Severity.INFORMATIONAL,
    disposition: Disposition | None = None,
) -> RegistryEntry:
    return RegistryEntry(
        event, when, ocsf.ENTITY_MANAGEMENT, 11, "Deactivate", shapes.stop, _STOP,
        severity=severity, disposition=disposition,
    )  # fmt: skip


def _review(
    event: type[Event],
    when: str,
    activity_id: int,
    activity_name: str,
    *,
    more: Allowed | None = None,
    shape: Shape = shapes.review,
    disposition: Disposition | None = None,
) -> RegistryEntry:
    return RegistryEntry(
        event, when, ocsf.ENTITY_MANAGEMENT, activity_id, activity_name, shape, _REVIEW | (more or {}),
        disposition=disposition,
    )  # fmt: skip


def _access(
    event: type[Event],
    when: str,
    activity_id: int,
    activity_name: str,
    *,
    more: Allowed | None = None,
    shape: Shape = shapes.access,
    severity: Severity = Severity.INFORMATIONAL,
    status: Status = Status.SUCCESS,
) -> RegistryEntry:
    return RegistryEntry(
        event, when, ocsf.USER_ACCESS, activity_id, activity_name, shape, _CLAIM | (more or {}),
        severity=severity, status=status,
    )  # fmt: skip


def _document(
    event: type[Event],
    when: str,
    activity_id: int,
    activity_name: str,
    shape: Shape,
    *,
    severity: Severity = Severity.INFORMATIONAL,
) -> RegistryEntry:
    return RegistryEntry(
        event, when, ocsf.ENTITY_MANAGEMENT, activity_id, activity_name, shape, _DOCUMENT, severity=severity
    )


def _kind(kind: Kind[Any]) -> tuple[RegistryEntry, ...]:
    """Documents of one kind: of AWS they enter and leave the catalog; others say who may get what."""
    made, changed, gone = kind.facts.registered, kind.facts.changed, kind.facts.removed
    change = _CHANGES.get(kind.noun, shapes.changed_document)
    if kind.inventory is not None:
        return (
            _document(made, f"{kind.phrase} was registered", 6, "Enroll", shapes.created_document),
            _document(changed, f"{kind.phrase}'s registration was changed", 3, "Update", change),
            _document(
                gone, f"{kind.phrase} was removed from the catalog", 7, "Unenroll", shapes.removed_document
            ),
        )
    low = Severity.LOW
    return (
        _document(made, f"{kind.phrase} was made", 1, "Create", shapes.created_document, severity=low),
        _document(changed, f"{kind.phrase} was changed", 3, "Update", change, severity=low),
        _document(gone, f"{kind.phrase} was removed", 4, "Delete", shapes.removed_document, severity=low),
    )


_CHANGES: Final = {"rule": shapes.changed_rule}
"""Kinds whose changes are told in a way of their own, by noun."""

_TICKETS = (
    _ticket(
        ticket.TicketSubmitted, "somebody asked for access", 1, "Create", more=only("allowed_by")
    ),
    _ticket(
        ticket.TicketRevised, "rejected or timed-out targets were asked for again", 3, "Update"
    ),
    _ticket(
        ticket.TicketApproved, "one target of a ticket was approved", ocsf.OTHER, "Approve",
        more=only("content_hash"), disposition=ocsf.APPROVED,
    ),
    _ticket(
        ticket.TicketRejected, "one target of a ticket was rejected", ocsf.OTHER, "Reject",
        disposition=ocsf.REJECTED,
    ),
    _ticket(ticket.TicketTimedOut, "targets were not decided in time", 11, "Deactivate"),
    _stop(stop.TicketWithdrawn, "the requester dropped what was not yet granted"),
    _stop(
        stop.TicketTerminated, "an approver or administrator stopped access",
        severity=Severity.LOW, disposition=ocsf.ACCESS_REVOKED,
    ),
    _stop(
        stop.TicketReturned, "the beneficiary gave access back", disposition=ocsf.ACCESS_REVOKED,
    ),
    _ticket(
        ticket.TicketExtensionRequested, "somebody asked for a later end of live access", 3, "Update",
        more=only("extension_id"), shape=shapes.extension,
    ),
    _ticket(
        ticket.TicketExtensionApproved, "a later end was approved", ocsf.OTHER, "Approve Extension",
        more=only("extension_id", "content_hash"), shape=shapes.extension, disposition=ocsf.APPROVED,
    ),
    _ticket(
        ticket.TicketExtensionRejected, "there is no later end: rejected, not decided in time, or stopped",
        ocsf.OTHER, "Decline Extension",
        more=only("extension_id", "code"), shape=shapes.declined_extension,
    ),
    _ticket(ticket.TicketClosed, "no credential of the ticket can live any more", ocsf.OTHER, "Close"),
)  # fmt: skip

_REVIEWS = (
    _review(
        approval.ReviewOpened, "the approval of one target or extension began", 1, "Create",
        more=only("auto_approved_by", "expires_at", stages=each(STAGE), revisions=REVISIONS),
    ),
    _review(
        approval.ReviewStageOpened, "a stage waits for votes", ocsf.OTHER, "Open Stage",
        more=only(
            "stage", "stages", "needed", "other_grants", "earlier_rejections", approvers=each(PERSON)
        ),
    ),
    _review(
        approval.ReviewDecided, "somebody voted", ocsf.OTHER, "Approve or Reject",
        more=only(vote=VOTE), shape=shapes.vote,
    ),
    _review(
        approval.ReviewApproved, "all stages approved: the witness", ocsf.OTHER, "Approve",
        more=only(
            "content_hash", "auto_approved_by", window=WINDOW, votes=each(VOTE), revisions=REVISIONS
        ),
        disposition=ocsf.APPROVED,
    ),
    _review(
        approval.ReviewRejected, "a stage rejected, or nobody could approve", ocsf.OTHER, "Reject",
        more=only("code", votes=each(VOTE)), disposition=ocsf.REJECTED,
    ),
    _review(approval.ReviewVoided, "the review counts no longer", 11, "Deactivate"),
)  # fmt: skip

# Only what was read back from AWS is called Assign or Revoke; intentions have names of their own.
_ACCESS = (
    _access(
        access.AccessScheduled, "a claim with its end is stored; AWS was not asked", ocsf.OTHER, "Schedule",
        more=only("starts_at"),
    ),
    _access(access.AccessGranting, "AWS is about to be asked", ocsf.OTHER, "Begin Assign"),
    _access(
        access.AccessGranted, "read back: the assignment is there", 1, "Assign Privileges",
        more=only("request_id", "already_held", "credentials_until"), shape=shapes.assigned,
    ),
    _access(
        access.AccessFailed, "never granted, and verified absent or kept by something else",
        1, "Assign Privileges",
        more=only("code", "detail", "request_id", "kept_by", "credentials_until"), shape=shapes.assigned,
        severity=Severity.MEDIUM, status=Status.FAILURE,
    ),
    _access(
        access.AccessExtended, "the end has moved; nothing was asked of AWS", ocsf.OTHER, "Extend",
        more=only("subject_id", "ended_before", "credentials_until"),
    ),
    _access(
        access.AccessExtensionFailed, "an approved later end was not set; access ends as before",
        ocsf.OTHER, "Extend",
        more=only("subject_id", "code", "detail"), severity=Severity.MEDIUM, status=Status.FAILURE,
    ),
    _access(
        access.AccessRevokeDue, "a claim is over; what there is of it is to be taken away",
        ocsf.OTHER, "Begin Revoke",
        more=only("cause_of_end", "late_by"),
    ),
    _access(
        access.AccessRevoked, "it was granted, and read back: the assignment is gone", 2, "Revoke Privileges",
        more=only("cause_of_end", "request_id", "late_by", "credentials_until", "also_through"),
        shape=shapes.unassigned,
    ),
    _access(
        access.AccessReleased, "it was granted and ended, but the access remains", ocsf.OTHER, "Release",
        more=only("cause_of_end", "kept_by", "credentials_until"), severity=Severity.LOW,
    ),
    _access(
        access.AccessRevokeOverdue, "a revoke is late beyond the objective", 2, "Revoke Privileges",
        more=only("overdue_by", "last_error"), severity=Severity.HIGH, status=Status.FAILURE,
    ),
)  # fmt: skip

_CONFIGURATION = tuple(entry for kind in KINDS for entry in _kind(kind))

_CALLS = (
    RegistryEntry(
        configuration.AuthzDenied, "somebody was told no", ocsf.API_ACTIVITY, ocsf.OTHER,
        "by the route's method", shapes.denial,
        only("verb", "code", "rules", "route", "object_id", "count", "since"),
        severity=Severity.LOW, status=Status.FAILURE, disposition=ocsf.UNAUTHORIZED,
    ),
    RegistryEntry(
        configuration.AuditRead, "somebody looked into the audit log", ocsf.API_ACTIVITY, 2, "Read",
        shapes.reading, only("query", "returned"),
    ),
    RegistryEntry(
        configuration.OperationRequested, "an administrator had something sent or handled again",
        ocsf.API_ACTIVITY, 3, "Update", shapes.operation, only("operation", "detail"),
        severity=Severity.LOW,
    ),
    RegistryEntry(
        configuration.InventoryConfirmed, "an administrator confirmed that much is gone from AWS",
        ocsf.API_ACTIVITY, 3, "Update", shapes.confirmation, only("removed"), severity=Severity.MEDIUM,
    ),
    RegistryEntry(
        configuration.GrantsPaused, "an administrator lets no grant begin; access ends as ever",
        ocsf.API_ACTIVITY, 3, "Update", shapes.pause, {}, severity=Severity.MEDIUM,
    ),
    RegistryEntry(
        configuration.GrantsResumed, "an administrator lets grants begin again",
        ocsf.API_ACTIVITY, 3, "Update", shapes.resumption,
        only("paused_at", "paused_why", paused_by=ACTOR), severity=Severity.MEDIUM,
    ),
    RegistryEntry(
        configuration.RevocationOrdered,
        "an administrator ended all access of a ticket, a user or an account",
        ocsf.API_ACTIVITY, 3, "Update", shapes.revocation,
        only("ticket_id", "user_id", "account_id", "ended"), severity=Severity.MEDIUM,
    ),
)  # fmt: skip

_IDENTITIES = (
    RegistryEntry(
        identity.IdentityBound, "a token's subject was seen for the first time and bound to its user",
        ocsf.ENTITY_MANAGEMENT, 1, "Create", shapes.binding, _BINDING,
    ),
    RegistryEntry(
        identity.IdentityConflictFound, "a token named a user who is not its subject's, and was refused",
        ocsf.ENTITY_MANAGEMENT, ocsf.OTHER, "Refuse", shapes.binding, _BINDING | _CONFLICT,
        severity=Severity.MEDIUM, status=Status.FAILURE, disposition=ocsf.UNAUTHORIZED,
    ),
    RegistryEntry(
        identity.IdentityRebound, "an administrator let a conflict's subject be its user",
        ocsf.ENTITY_MANAGEMENT, 3, "Update", shapes.binding, _BINDING | _CONFLICT | only("quiet_until"),
        severity=Severity.MEDIUM,
    ),
)  # fmt: skip

_MAILS = (
    RegistryEntry(
        notification.NotificationSent, "mails about the same were handed over", ocsf.EMAIL_ACTIVITY, 1,
        "Send", shapes.mails, _MAILS_OF,
    ),
    RegistryEntry(
        notification.NotificationFailed, "mails about the same were given up for the same reason",
        ocsf.EMAIL_ACTIVITY, 1, "Send", shapes.mails, _MAILS_OF | only("smtp_code", "detail"),
        severity=Severity.MEDIUM, status=Status.FAILURE,
    ),
)  # fmt: skip

REGISTRY: Final[dict[type[Event], RegistryEntry]] = {
    entry.event: entry
    for entry in (*_TICKETS, *_REVIEWS, *_ACCESS, *_CONFIGURATION, *_CALLS, *_IDENTITIES, *_MAILS)
}
"""Every event type of shared/contracts, by its class."""

CODES: Final = frozenset(entry.code for entry in REGISTRY.values()) | {TRANSLATION_FAILED}
"""Every value `metadata.event_code` can have."""
