"""Everything AWS may do to a grant or a revoke; afterwards no access is left and the facts are true."""

from datetime import timedelta

import pytest

from shared.contracts import access
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
CREATE, DELETE = "CreateAccountAssignment", "DeleteAccountAssignment"
TOO_MANY = "Too many requests processing account assignments. Try again later."


def refusal(code: str, message: str = "no") -> dict[str, object]:
    return {"kind": "error", "code": code, "message": message}


RETRIED = {
    "conflict": refusal("ConflictException"),
    "throttled": refusal("ThrottlingException", "Rate exceeded"),
    "slots full": refusal("ThrottlingException", TOO_MANY),
    "5xx": {"kind": "http500"},
    "cut off before": {"kind": "reset_before"},
    "cut off after": {"kind": "reset_after_accept"},
    "failed": {"kind": "fail_async"},
    "failed but done": {"kind": "fail_async", "partial": True},
}


@pytest.mark.parametrize("fault", RETRIED)
async def test_create_with_a_passing_fault_is_granted_and_ended(lab: Lab, fault: str) -> None:
    lab.aws.fault(operation=CREATE, times=2, **RETRIED[fault])
    await lab.approve(lab.ticket(seconds=90))
    granted = await lab.run_until(access.AccessGranted)
    assert not granted.already_held
    assert lab.holds()
    await lab.run_until(access.AccessRevoked, within=200)
    assert not lab.holds()


@pytest.mark.parametrize("fault", RETRIED)
async def test_delete_with_a_passing_fault_is_revoked(lab: Lab, fault: str) -> None:
    lab.aws.fault(operation=DELETE, times=3, **RETRIED[fault])
    await lab.approve(lab.ticket(seconds=20))
    await lab.run_until(access.AccessRevoked, within=300)
    assert not lab.holds()
    [(_, _, ended)] = lab.presence()
    assert ended is not None


READS = (
    "ListAccountAssignments",
    "ListAccountAssignmentCreationStatus",
    "ListAccountAssignmentDeletionStatus",
    "DescribeAccountAssignmentCreationStatus",
    "DescribeAccountAssignmentDeletionStatus",
    "DescribeUser",
    "DescribeAccount",
)


@pytest.mark.parametrize("operation", READS)
async def test_reads_that_fail_for_a_while_delay_and_do_no_harm(lab: Lab, operation: str) -> None:
    lab.aws.fault(operation=operation, kind="error", code="ThrottlingException", times=4)
    await lab.approve(lab.ticket(seconds=90))
    await lab.run_until(access.AccessGranted)
    await lab.run_until(access.AccessRevoked, within=200)
    assert not lab.holds()
    assert len(lab.presence()) == 1


@pytest.mark.parametrize("partial", [False, True])
async def test_create_that_fails_for_good_is_failed_after_absence_was_verified(
    lab: Lab, partial: bool
) -> None:
    lab.aws.fault(operation=CREATE, kind="fail_async", partial=partial)
    await lab.approve(lab.ticket(seconds=600))
    failed = await lab.run_until(access.AccessFailed, within=300)
    assert failed.code == "aws_failed"
    assert "internal" not in failed.detail + failed.why
    assert lab.calls(CREATE) == 5
    assert not lab.holds()
    assert "granted" not in await lab.story()
    assert "grant_failed" in lab.alerts()
    assert all(ended is not None and failed.at >= ended + 20 * S for _, _, ended in lab.presence())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", "aws_denied"),
        ("ServiceQuotaExceededException", "aws_quota"),
        ("ValidationException", "aws_invalid"),
        ("ResourceNotFoundException", "aws_not_found"),
    ],
)
async def test_create_refused_for_good_is_asked_once_and_failed(lab: Lab, code: str, expected: str) -> None:
    lab.aws.fault(operation=CREATE, kind="error", code=code, message="no")
    await lab.approve(lab.ticket(seconds=600))
    failed = await lab.run_until(access.AccessFailed)
    assert failed.code == expected
    assert lab.calls(CREATE) == 1


async def test_delete_refused_for_ever_is_retried_for_ever_and_loud(lab: Lab) -> None:
    rule = lab.aws.fault(operation=DELETE, kind="error", code="AccessDeniedException", message="no")
    await lab.approve(lab.ticket(seconds=20))
    await lab.run(1200, step=5)
    assert lab.calls(DELETE) > 40
    assert (await lab.story()).count("revoke_overdue") == 1
    [overdue] = await lab.said(access.AccessRevokeOverdue)
    assert overdue.overdue_by >= 120 * S
    assert "AccessDenied" in overdue.last_error
    assert "revoke_overdue" in lab.alerts()
    lab.aws.faults.remove(rule.id)
    await lab.run_until(access.AccessRevoked)
    await lab.run(1)
    assert not lab.holds()
    assert "revoke_overdue" not in lab.alerts()


async def test_delete_of_what_somebody_else_took_away_is_revoked(lab: Lab) -> None:
    lab.aws.change_settings(list_lag_seconds=8)
    await lab.approve(lab.ticket(seconds=40))
    await lab.run(38)
    lab.aws.edit(action="remove_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run_until(access.AccessRevoked)
    assert lab.aws.records.outcomes[f"{DELETE} ResourceNotFoundException"] >= 1


@pytest.mark.parametrize("answer", ["not_found", "failed", "succeeded"])
async def test_delete_of_what_is_missing_settles_whatever_aws_answers(lab: Lab, answer: str) -> None:
    lab.aws.change_settings(list_lag_seconds=8, missing_assignment_deletion=answer)
    await lab.approve(lab.ticket(seconds=40))
    await lab.run(38)
    lab.aws.edit(action="remove_assignment", user="ann", account="orders-prod", permission_set="ReadOnly")
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


async def test_list_lag_near_the_settle_time_leaves_nothing_behind(lab: Lab) -> None:
    lab.aws.change_settings(list_lag_seconds=15)
    await lab.approve(lab.ticket(seconds=10))
    await lab.run(120)
    assert not lab.holds()
    assert (await lab.story())[-1] == "failed(expired)"


@pytest.mark.parametrize(
    "edit",
    [
        {"action": "disable_user", "user": "ann"},
        {"action": "delete_user", "user": "ann"},
        {"action": "set_account_state", "account": "orders-prod", "state": "SUSPENDED"},
        {"action": "delete_set", "permission_set": "ReadOnly"},
    ],
    ids=lambda edit: str(edit["action"]),
)
async def test_access_ends_although_its_user_account_or_set_is_gone(lab: Lab, edit: dict[str, str]) -> None:
    await lab.approve(lab.ticket(seconds=40))
    await lab.run_until(access.AccessGranted)
    before = len(lab.aws.assignments())
    lab.aws.edit(**edit)
    await lab.run_until(access.AccessRevoked)
    assert len(lab.aws.assignments()) < before


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({"action": "disable_user", "user": "ann"}, "user_disabled"),
        ({"action": "delete_user", "user": "ann"}, "user_unknown"),
        (
            {"action": "set_account_state", "account": "orders-prod", "state": "SUSPENDED"},
            "account_not_active",
        ),
    ],
)
async def test_grant_asks_aws_itself_whether_user_and_account_are_in_order(
    lab: Lab, edit: dict[str, str], code: str
) -> None:
    """The tables still say that all is well."""
    ticket = lab.ticket()
    lab.aws.edit(**edit)
    await lab.approve(ticket)
    failed = await lab.run_until(access.AccessFailed)
    assert failed.code == code
    assert lab.calls(CREATE) == 0


async def test_management_account_for_a_delegated_administrator_is_failed(lab: Lab) -> None:
    lab.aws.change_settings(caller="delegated")
    await lab.approve(lab.ticket(account="management", seconds=300))
    failed = await lab.run_until(access.AccessFailed)
    assert failed.code == "aws_denied"
