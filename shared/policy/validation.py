"""What is wrong with a rule or a scope before it is saved: its shape, its rows, and unknown names in it.

Pure functions over a snapshot, for the commands that write them. What is only unlikely is not an error:
people come and go, and whether a review can be filled is asked again at submit.
"""

from collections.abc import Iterable, Iterator

from shared.contracts.documents import (
    AccessScope,
    Account,
    ApprovalRule,
    Group,
    OrganizationalUnit,
    PermissionSet,
    RuleStage,
    SetGroup,
)
from shared.foundation.errors import FieldError
from shared.policy.rows import row_errors
from shared.policy.shape import rule_errors, scope_errors
from shared.policy.snapshot import Snapshot


def validate_scope(scope: AccessScope, snapshot: Snapshot) -> list[FieldError]:
    """Every wrong field of an access scope; empty when it may be saved."""
    return [
        *(scope_errors(scope) or row_errors(scope)),
        *_unknown_selectors(scope.accounts, scope.sets, snapshot),
        *_unknown_subjects(scope.subjects, "/subjects", snapshot),
    ]


def validate_rule(rule: ApprovalRule, snapshot: Snapshot) -> list[FieldError]:
    """Every wrong field of an approval rule; empty when it may be saved."""
    errors = [
        *(rule_errors(rule) or row_errors(rule)),
        *_unknown_selectors(rule.accounts, rule.sets, snapshot),
    ]
    for index, stage in enumerate(rule.stages):
        errors += _unknown_subjects(stage.approvers, f"/stages/{index}/approvers", snapshot)
        errors += _too_few(stage, f"/stages/{index}/needed", snapshot)
    return errors


def _unknown_selectors(accounts: str, sets: str, snapshot: Snapshot) -> Iterator[FieldError]:
    kind, _, name = accounts.partition(":")
    if kind == "acct" and snapshot.get(Account, name) is None:
        yield FieldError("/accounts", "account_unknown", f"There is no account {name} in the organisation.")
    if kind == "ou" and not _is_ou(name, snapshot):
        yield FieldError("/accounts", "ou_unknown", f"There is no OU {name} in the organisation.")
    kind, _, name = sets.partition(":")
    if kind == "ps" and snapshot.get(PermissionSet, name) is None:
        yield FieldError("/sets", "set_unknown", f"There is no permission set {name}.")
    if kind == "psg" and snapshot.get(SetGroup, name) is None:
        yield FieldError("/sets", "set_group_unknown", f"There is no permission-set group {name}.")


def _is_ou(name: str, snapshot: Snapshot) -> bool:
    """Known by itself, or as an ancestor of an account: the root may come without a document."""
    if snapshot.get(OrganizationalUnit, name) is not None:
        return True
    return any(name in account.ous for account in snapshot.all(Account))


def _unknown_subjects(subjects: Iterable[str], pointer: str, snapshot: Snapshot) -> Iterator[FieldError]:
    for index, subject in enumerate(subjects):
        kind, _, name = subject.partition(":")
        if kind == "user" and snapshot.user(name) is None:
            yield FieldError(f"{pointer}/{index}", "user_unknown", f"There is no user {name}.")
        if kind == "group" and snapshot.get(Group, name) is None:
            yield FieldError(f"{pointer}/{index}", "group_unknown", f"There is no group {name}.")


def _too_few(stage: RuleStage, pointer: str, snapshot: Snapshot) -> Iterator[FieldError]:
    people = snapshot.people(stage.approvers)
    if stage.approvers and len(people) < stage.needed:
        detail = f"The stage needs {stage.needed} and its approvers are {len(people)} enabled people."
        yield FieldError(pointer, "too_few_approvers", detail)
