"""What is wrong with a rule or a scope by itself, whatever other documents there are.

Pure. rows.py refuses documents with any of these; validation.py adds what only the others can tell.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from shared.contracts.documents import AccessScope, ApprovalRule
from shared.foundation.errors import FieldError
from shared.policy.row import ALWAYS, ANY, FOREVER, PERSONAL, SET, is_scope
from shared.policy.tags import tag_problem


def scope_errors(scope: AccessScope) -> list[FieldError]:
    """Every field of an access scope that no other document could make right."""
    return [
        *_selectors(scope.accounts, scope.sets),
        *_subjects(scope.subjects, "/subjects"),
        *_verbs(scope),
        *_scope_length(scope),
        *_validity(scope),
    ]


def rule_errors(rule: ApprovalRule) -> list[FieldError]:
    """Every field of an approval rule that no other document could make right."""
    errors = [*_selectors(rule.accounts, rule.sets), *_auto_approval(rule)]
    for index, stage in enumerate(rule.stages):
        errors += _subjects(stage.approvers, f"/stages/{index}/approvers")
    if not rule.stages and rule.auto_approve_up_to is None:
        errors.append(
            FieldError("/stages", "no_stages", "A rule needs a stage of approvers, or an auto-approval.")
        )
    return errors


def _selectors(accounts: str, sets: str) -> Iterator[FieldError]:
    if accounts.startswith("tag:"):
        if problem := tag_problem(accounts):
            yield FieldError("/accounts", "tag_malformed", problem)
    elif not is_scope(accounts):
        yield FieldError(
            "/accounts",
            "selector_malformed",
            "Select accounts by acct:<12 digits>, ou:<id>, tag:<key>=<value> or *.",
        )
    if SET.fullmatch(sets) is None:
        yield FieldError(
            "/sets", "selector_malformed", "Select permission sets by ps:<id>, psg:<set group id> or *."
        )


def _subjects(subjects: Sequence[str], pointer: str) -> Iterator[FieldError]:
    if not subjects:
        yield FieldError(pointer, "nobody", "Name at least one user or group.")
    for index, subject in enumerate(subjects):
        if subject == ANY:
            yield FieldError(
                f"{pointer}/{index}", "subject_star", "Nobody is everybody: name users or groups, not *."
            )
        elif PERSONAL.fullmatch(subject) is None:
            yield FieldError(
                f"{pointer}/{index}", "subject_malformed", "Name a subject as user:<id> or group:<id>."
            )


def _verbs(scope: AccessScope) -> Iterator[FieldError]:
    if not scope.verbs:
        yield FieldError("/verbs", "no_verbs", "Say what the scope is about: request, request_for or both.")


def _scope_length(scope: AccessScope) -> Iterator[FieldError]:
    if scope.max_duration < timedelta(0):
        yield FieldError("/max_duration", "duration_negative", "A duration cannot be negative.")
    elif scope.effect == "allow" and not scope.max_duration:
        yield FieldError("/max_duration", "duration_zero", "A scope that allows needs a longest duration.")


def _validity(scope: AccessScope) -> Iterator[FieldError]:
    if (scope.valid_until or FOREVER) <= (scope.valid_from or ALWAYS):
        yield FieldError("/valid_until", "never_valid", "The scope must end after it begins.")


def _auto_approval(rule: ApprovalRule) -> Iterator[FieldError]:
    longest = rule.auto_approve_up_to
    if longest is None:
        return
    pointer = "/auto_approve_up_to"
    if longest < timedelta(0):
        yield FieldError(pointer, "duration_negative", "A duration cannot be negative.")
    elif not longest:
        yield FieldError(pointer, "duration_zero", "Auto-approval needs a longest duration, or is left out.")
    if not rule.accounts.startswith(("acct:", "ou:")):
        yield FieldError(
            pointer, "auto_by_selector", "Auto-approval is for one account or OU, never for a tag or *."
        )
    if rule.stages:
        yield FieldError(pointer, "auto_with_stages", "A rule approves by itself or by votes, not by both.")
    if rule.always:
        yield FieldError(pointer, "auto_with_always", "A rule that always adds stages cannot auto-approve.")
