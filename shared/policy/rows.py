"""From documents to policy rows, and the constant rows of the roles.

Pure; comes after the documents (shared/contracts/documents.py) and before engine.py. A document with an
error of shape compiles to nothing: it raises, and the rows of its last good revision stay in force.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from shared.contracts.documents import AccessScope, ApprovalRule, Document
from shared.foundation.errors import FieldError
from shared.policy.row import ALWAYS, ANY, FOREVER, UNLIMITED, Row, RowRefused, check_row
from shared.policy.shape import rule_errors, scope_errors

ROLES: Final = {
    # Everything except request and approve: who administers JIT does not thereby approve.
    "admin": (
        "config.read",
        "config.write",
        "ticket.read",
        "terminate",
        "audit.read",
        "ops.read",
        "ops.write",
    ),
    "auditor": ("audit.read", "ticket.read", "config.read", "ops.read"),
}
"""Verbs of each role, on every account and set, for any length."""


QUIETED: Final = frozenset({"config.write", "ops.write"})
"""Verbs of administration that wait while a person is quiet after a rebinding; what stops access does not."""


def approve_verb(rule_id: str, index: int) -> str:
    """The verb a vote asks for: stage `index` (from 1) of the rule."""
    return f"approve/{rule_id}/{index}"


def scope_rows(scope: AccessScope) -> tuple[Row, ...]:
    """A row per subject and verb. Raises RowRefused if the scope is malformed."""
    _refuse(scope.key, scope_errors(scope))
    return tuple(
        Row(
            verb=verb,
            subject=subject,
            scope=scope.accounts,
            set=scope.sets,
            max_seconds=scope.max_duration.total_seconds(),
            not_before=scope.valid_from or ALWAYS,
            expires=scope.valid_until or FOREVER,
            effect=scope.effect,
            rule=scope.key,
        )
        for verb in dict.fromkeys(scope.verbs)
        for subject in dict.fromkeys(scope.subjects)
    )


def rule_rows(rule: ApprovalRule) -> tuple[Row, ...]:
    """For each approver: the votes of their stages, and terminate and ticket.read on the rule's selectors.

    Raises RowRefused if the rule is malformed.
    """
    _refuse(rule.key, rule_errors(rule))
    return tuple(
        _unlimited(verb, subject, rule.accounts, rule.sets, rule.key) for verb, subject in _rights(rule)
    )


def role_rows(role: str) -> tuple[Row, ...]:
    """The constant rows of a role; KeyError for a role that does not exist."""
    return tuple(_unlimited(verb, f"role:{role}", ANY, ANY, f"role/{role}") for verb in ROLES[role])


def row_errors(document: AccessScope | ApprovalRule) -> list[FieldError]:
    """Why the policy would refuse a document whose fields are sound one by one; asked before it is stored."""
    try:
        rows = scope_rows(document) if isinstance(document, AccessScope) else rule_rows(document)
        for row in rows:
            check_row(row)
    except RowRefused as error:
        return [FieldError("", "row_refused", f"The policy cannot hold this: {error}.")]
    return []


def _rights(rule: ApprovalRule) -> Iterator[tuple[str, str]]:
    for index, stage in enumerate(rule.stages, start=1):
        for approver in dict.fromkeys(stage.approvers):
            yield approve_verb(rule.id, index), approver
    approvers = dict.fromkeys(approver for stage in rule.stages for approver in stage.approvers)
    for approver in approvers:
        yield "terminate", approver
        yield "ticket.read", approver


def _unlimited(verb: str, subject: str, scope: str, sets: str, rule: str) -> Row:
    begin: datetime = ALWAYS
    return Row(verb, subject, scope, sets, UNLIMITED, begin, FOREVER, "allow", rule)


def _refuse(key: str, errors: list[FieldError]) -> None:
    if errors:
        raise RowRefused(f"{key}: " + "; ".join(f"{e.field} {e.code}" for e in errors))


def rows_of(document: Document) -> tuple[Row, ...] | None:
    """The rows a document compiles to; None where its kind has none."""
    if isinstance(document, AccessScope):
        return scope_rows(document)
    if isinstance(document, ApprovalRule):
        return rule_rows(document)
    return () if document.contract in (AccessScope, ApprovalRule) else None
