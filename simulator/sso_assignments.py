"""Identity Center's operations on account assignments: asynchronous creation and deletion, and the lists.

An accepted call changes nothing yet: `asynchronous` carries it out.
"""

from typing import Any

from simulator.asynchronous import CREATE, DELETE, AsyncRequest
from simulator.call import Call, Operation, present
from simulator.errors import not_found
from simulator.model import Assignment
from simulator.sso_checks import (
    named_assignment,
    refuse_delegated,
    refuse_delegated_in_management,
    require_account,
    require_instance,
    require_principal,
    require_set,
)
from simulator.sso_provisioning import brief, newest_first


def create(call: Call) -> dict[str, Any]:
    assignment = named_assignment(call)
    require_principal(call, assignment.principal_type, assignment.principal)
    refuse_delegated_in_management(call, assignment.permission_set, assignment.account)
    request = call.world.requests.assign(CREATE, assignment, now=call.now, plan=call.plan)
    return {"AccountAssignmentCreationStatus": _status(request)}


def delete(call: Call) -> dict[str, Any]:
    assignment = named_assignment(call)
    refuse_delegated_in_management(call, assignment.permission_set, assignment.account)
    missing = assignment not in call.world.truth.present
    busy = call.world.requests.works_on(assignment)
    if missing and not busy:
        require_principal(call, assignment.principal_type, assignment.principal)
    if missing and not busy and call.world.settings.missing_assignment_deletion == "not_found":
        raise not_found("Could not find AccountAssignment: the principal has no such assignment.")
    request = call.world.requests.assign(DELETE, assignment, now=call.now, plan=call.plan)
    return {"AccountAssignmentDeletionStatus": _status(request)}


def describe_creation(call: Call) -> dict[str, Any]:
    request = _find(call, CREATE, call.params["AccountAssignmentCreationRequestId"])
    return {"AccountAssignmentCreationStatus": _status(request)}


def describe_deletion(call: Call) -> dict[str, Any]:
    request = _find(call, DELETE, call.params["AccountAssignmentDeletionRequestId"])
    return {"AccountAssignmentDeletionStatus": _status(request)}


def list_creations(call: Call) -> dict[str, Any]:
    return _list_statuses(call, CREATE, "AccountAssignmentsCreationStatus")


def list_deletions(call: Call) -> dict[str, Any]:
    return _list_statuses(call, DELETE, "AccountAssignmentsDeletionStatus")


def _list_statuses(call: Call, kind: str, name: str) -> dict[str, Any]:
    require_instance(call)
    wanted = call.params.get("Filter", {}).get("Status")
    return call.page_of(name, call.world.requests.of_kind(kind, wanted), key=newest_first, show=brief)


def _find(call: Call, kind: str, request_id: str) -> AsyncRequest:
    """A request by its id; creations and deletions have ids of their own that are not interchangeable."""
    require_instance(call)
    request = call.world.requests.all.get(request_id)
    if request is None or request.kind != kind:
        raise not_found(f"Could not find AccountAssignment {kind} request with id {request_id}")
    return request


def _status(request: AsyncRequest) -> dict[str, Any]:
    assignment = request.assignment
    if assignment is None:
        raise TypeError("this is a bug: a request without an assignment is not one of these")
    return present(
        **brief(request),
        FailureReason=request.failure_reason,
        TargetId=assignment.account,
        TargetType="AWS_ACCOUNT",
        PermissionSetArn=assignment.permission_set,
        PrincipalType=assignment.principal_type,
        PrincipalId=assignment.principal,
    )


def list_assignments(call: Call) -> dict[str, Any]:
    found = require_set(call)
    account = require_account(call, call.params["AccountId"])
    rows = [
        row
        for row in call.world.truth.shown(call.now)
        if row.account == account.id and row.permission_set == found.arn
    ]
    return call.page_of("AccountAssignments", rows, key=_order, show=_row)


def list_for_principal(call: Call) -> dict[str, Any]:
    require_instance(call)
    refuse_delegated(call)
    principal = call.params["PrincipalId"]
    require_principal(call, call.params["PrincipalType"], principal)
    only = call.params.get("Filter", {}).get("AccountId")
    wanted = {principal}
    if call.world.settings.principal_lists_include_groups:
        wanted |= {membership.group for membership in call.directory.groups_of(principal)}
    rows = [
        row
        for row in call.world.truth.shown(call.now)
        if row.principal in wanted and only in {None, row.account}
    ]
    return call.page_of("AccountAssignments", rows, key=_order, show=_row)


def _order(row: Assignment) -> str:
    return f"{row.account} {row.permission_set} {row.principal_type} {row.principal}"


def _row(row: Assignment) -> dict[str, Any]:
    return {
        "AccountId": row.account,
        "PermissionSetArn": row.permission_set,
        "PrincipalType": row.principal_type,
        "PrincipalId": row.principal,
    }


OPERATIONS: dict[str, Operation] = {
    "CreateAccountAssignment": create,
    "DeleteAccountAssignment": delete,
    "DescribeAccountAssignmentCreationStatus": describe_creation,
    "DescribeAccountAssignmentDeletionStatus": describe_deletion,
    "ListAccountAssignmentCreationStatus": list_creations,
    "ListAccountAssignmentDeletionStatus": list_deletions,
    "ListAccountAssignments": list_assignments,
    "ListAccountAssignmentsForPrincipal": list_for_principal,
}
