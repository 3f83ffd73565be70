"""Identity Center's operations that carry a permission set's content to the accounts that hold it.

Also what the status lists of all asynchronous requests have in common.
"""

from typing import Any

from simulator.asynchronous import PROVISION, AsyncRequest
from simulator.call import Call, Operation, present
from simulator.errors import invalid, not_found
from simulator.model import PermissionSet
from simulator.sso_checks import (
    refuse_delegated_in_management,
    require_account,
    require_instance,
    require_set,
)

_LATEST, _NOT_LATEST = "LATEST_PERMISSION_SET_PROVISIONED", "LATEST_PERMISSION_SET_NOT_PROVISIONED"


def provision(call: Call) -> dict[str, Any]:
    found = require_set(call)
    account = call.params.get("TargetId")
    if (call.params["TargetType"] == "AWS_ACCOUNT") != (account is not None):
        raise invalid("TargetId must be given for AWS_ACCOUNT, and only then.")
    if account is not None:
        require_account(call, account)
    refuse_delegated_in_management(call, found.arn, account)
    request = call.world.requests.provision(found.arn, account, now=call.now, plan=call.plan)
    return {"PermissionSetProvisioningStatus": _provisioning(request)}


def describe_provisioning(call: Call) -> dict[str, Any]:
    require_instance(call)
    request_id = call.params["ProvisionPermissionSetRequestId"]
    request = call.world.requests.all.get(request_id)
    if request is None or request.kind != PROVISION:
        raise not_found(f"Could not find ProvisionPermissionSet request with id {request_id}")
    return {"PermissionSetProvisioningStatus": _provisioning(request)}


def list_provisioning(call: Call) -> dict[str, Any]:
    require_instance(call)
    return call.page_of(
        "PermissionSetsProvisioningStatus",
        call.world.requests.of_kind(PROVISION, call.params.get("Filter", {}).get("Status")),
        key=newest_first,
        show=brief,
    )


def _provisioning(request: AsyncRequest) -> dict[str, Any]:
    members = {"AccountId": request.account, "PermissionSetArn": request.permission_set}
    return present(**brief(request), FailureReason=request.failure_reason, **members)


def brief(request: AsyncRequest) -> dict[str, Any]:
    """What the status lists tell of a request; never more, so a caller has to describe it."""
    return {"Status": request.status, "RequestId": request.id, "CreatedDate": request.created_at}


def newest_first(request: AsyncRequest) -> str:
    return f"{10**9 - request.number:010d}"


def list_accounts_for_set(call: Call) -> dict[str, Any]:
    found = require_set(call)
    accounts = [
        role.account
        for role in call.world.truth.roles.values()
        if role.permission_set == found.arn and _asked_for(call, found, role.revision)
    ]
    return call.page_of("AccountIds", accounts, key=str, show=str)


def list_sets_in_account(call: Call) -> dict[str, Any]:
    require_instance(call)
    account = require_account(call, call.params["AccountId"])
    sets = call.directory.permission_sets
    arns = [
        role.permission_set
        for role in call.world.truth.roles.values()
        if role.account == account.id and _asked_for(call, sets[role.permission_set], role.revision)
    ]
    return call.page_of("PermissionSets", arns, key=str, show=str)


def _asked_for(call: Call, found: PermissionSet, revision: int) -> bool:
    state = _LATEST if revision == found.revision else _NOT_LATEST
    return bool(call.params.get("ProvisioningStatus", state) == state)


OPERATIONS: dict[str, Operation] = {
    "ProvisionPermissionSet": provision,
    "DescribePermissionSetProvisioningStatus": describe_provisioning,
    "ListPermissionSetProvisioningStatus": list_provisioning,
    "ListAccountsForProvisionedPermissionSet": list_accounts_for_set,
    "ListPermissionSetsProvisionedToAccount": list_sets_in_account,
}
