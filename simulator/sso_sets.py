"""Identity Center's operations on the instance and its permission sets.

The effect of a change on accounts that hold the set comes with `sso_provisioning` only.
"""

import json
from typing import Any

from simulator.call import Call, Operation, present
from simulator.errors import ApiError, conflict, invalid, not_found
from simulator.model import PermissionSet
from simulator.sso_checks import (
    refuse_bad_duration,
    refuse_delegated_in_management,
    require_instance,
    require_set,
)

_POLICY_CHARACTERS = 10_240


def list_instances(call: Call) -> dict[str, Any]:
    return call.page_of(
        "Instances", [call.directory.instance], key=lambda row: row.arn, show=lambda _: _instance(call)
    )


def describe_instance(call: Call) -> dict[str, Any]:
    require_instance(call)
    return _instance(call)


def _instance(call: Call) -> dict[str, Any]:
    instance = call.directory.instance
    return {
        "InstanceArn": instance.arn,
        "IdentityStoreId": instance.identity_store,
        "OwnerAccountId": call.directory.management,
        "Name": instance.name,
        "CreatedDate": instance.created_at,
        "Status": "ACTIVE",
    }


def list_permission_sets(call: Call) -> dict[str, Any]:
    require_instance(call)
    arns = list(call.directory.permission_sets)
    return call.page_of("PermissionSets", arns, key=str, show=str)


def describe_permission_set(call: Call) -> dict[str, Any]:
    return {"PermissionSet": _shown(require_set(call))}


def _shown(found: PermissionSet) -> dict[str, Any]:
    return present(
        Name=found.name,
        PermissionSetArn=found.arn,
        Description=found.description,
        CreatedDate=found.created_at,
        SessionDuration=found.session_duration,
        RelayState=found.relay_state,
    )


def create_permission_set(call: Call) -> dict[str, Any]:
    require_instance(call)
    name = call.params["Name"]
    if any(found.name == name for found in call.directory.permission_sets.values()):
        raise conflict(f"PermissionSet with name {name} already exists.")
    duration = call.params.get("SessionDuration", "PT1H")
    refuse_bad_duration(duration)
    suffix = f"{call.world.rng.getrandbits(64):016x}"
    made = PermissionSet(
        arn=f"arn:aws:sso:::permissionSet/{call.directory.instance.resource}/ps-{suffix}",
        name=name,
        description=call.params.get("Description"),
        session_duration=duration,
        relay_state=call.params.get("RelayState"),
        created_at=call.now,
        tags={tag["Key"]: tag["Value"] for tag in call.params.get("Tags", [])},
    )
    call.directory.permission_sets[made.arn] = made
    return {"PermissionSet": _shown(made)}


def update_permission_set(call: Call) -> dict[str, Any]:
    changes = {
        "description": call.params.get("Description"),
        "session_duration": call.params.get("SessionDuration"),
        "relay_state": call.params.get("RelayState"),
    }
    if changes["session_duration"]:
        refuse_bad_duration(changes["session_duration"])
    _change(call, **present(**changes))
    return {}


def delete_permission_set(call: Call) -> dict[str, Any]:
    found = require_set(call)
    refuse_delegated_in_management(call, found.arn)
    held = any(arn == found.arn for _, arn in call.world.truth.roles)
    if held or any(request.permission_set == found.arn for request in call.world.requests.running()):
        raise conflict(f"PermissionSet {found.name} can not be deleted: it is provisioned in accounts.")
    del call.directory.permission_sets[found.arn]
    return {}


def get_inline_policy(call: Call) -> dict[str, Any]:
    return {"InlinePolicy": require_set(call).inline_policy}


def put_inline_policy(call: Call) -> dict[str, Any]:
    policy = call.params["InlinePolicy"]
    require_set(call)
    try:
        document = json.loads(policy)
    except ValueError as error:
        raise invalid("The policy is not in the valid JSON format.") from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise invalid("The policy does not have a Statement.")
    if sum(not letter.isspace() for letter in policy) > _POLICY_CHARACTERS:
        raise ApiError("ServiceQuotaExceededException", f"The policy is longer than {_POLICY_CHARACTERS}.")
    _change(call, inline_policy=policy)
    return {}


def delete_inline_policy(call: Call) -> dict[str, Any]:
    _change(call, inline_policy="")
    return {}


def list_managed_policies(call: Call) -> dict[str, Any]:
    return call.page_of(
        "AttachedManagedPolicies",
        require_set(call).managed_policies,
        key=str,
        show=lambda arn: {"Name": arn.rsplit("/", 1)[1], "Arn": arn},
    )


def attach_managed_policy(call: Call) -> dict[str, Any]:
    held, arn = require_set(call).managed_policies, call.params["ManagedPolicyArn"]
    if arn in held:
        raise conflict(f"ManagedPolicy {arn} is already attached.")
    _change(call, managed_policies=(*held, arn))
    return {}


def detach_managed_policy(call: Call) -> dict[str, Any]:
    held, arn = require_set(call).managed_policies, call.params["ManagedPolicyArn"]
    if arn not in held:
        raise not_found(f"ManagedPolicy {arn} is not attached.")
    _change(call, managed_policies=tuple(other for other in held if other != arn))
    return {}


def list_customer_policies(call: Call) -> dict[str, Any]:
    return call.page_of(
        "CustomerManagedPolicyReferences",
        require_set(call).customer_policies,
        key="/".join,
        show=lambda row: {"Name": row[0], "Path": row[1]},
    )


def get_permissions_boundary(call: Call) -> dict[str, Any]:
    found = require_set(call)
    if found.boundary_policy is None:
        raise not_found(f"PermissionSet {found.name} has no permissions boundary.")
    return {"PermissionsBoundary": {"ManagedPolicyArn": found.boundary_policy}}


def list_tags(call: Call) -> dict[str, Any]:
    tags = _tagged(call).tags
    return call.page_of(
        "Tags",
        list(tags.items()),
        key=lambda row: row[0],
        show=lambda row: {"Key": row[0], "Value": row[1]},
        largest=75,
    )


def tag(call: Call) -> dict[str, Any]:
    found = _tagged(call)
    added = {row["Key"]: row["Value"] for row in call.params["Tags"]}
    call.directory.change("permission_sets", found.arn, tags=found.tags | added)
    return {}


def untag(call: Call) -> dict[str, Any]:
    found = _tagged(call)
    kept = {key: value for key, value in found.tags.items() if key not in call.params["TagKeys"]}
    call.directory.change("permission_sets", found.arn, tags=kept)
    return {}


def _tagged(call: Call) -> PermissionSet:
    arn = call.params["ResourceArn"]
    if "InstanceArn" in call.params:
        require_instance(call)
    found = call.directory.permission_sets.get(arn)
    if found is None:
        raise not_found(f"Could not find resource {arn}")
    return found


def _change(call: Call, **changes: Any) -> None:
    """Change a set's content; accounts that hold it have an older revision from now on."""
    found = require_set(call)
    refuse_delegated_in_management(call, found.arn)
    call.directory.change("permission_sets", found.arn, revision=found.revision + 1, **changes)


OPERATIONS: dict[str, Operation] = {
    "ListInstances": list_instances,
    "DescribeInstance": describe_instance,
    "ListPermissionSets": list_permission_sets,
    "DescribePermissionSet": describe_permission_set,
    "CreatePermissionSet": create_permission_set,
    "UpdatePermissionSet": update_permission_set,
    "DeletePermissionSet": delete_permission_set,
    "GetInlinePolicyForPermissionSet": get_inline_policy,
    "PutInlinePolicyToPermissionSet": put_inline_policy,
    "DeleteInlinePolicyFromPermissionSet": delete_inline_policy,
    "ListManagedPoliciesInPermissionSet": list_managed_policies,
    "AttachManagedPolicyToPermissionSet": attach_managed_policy,
    "DetachManagedPolicyFromPermissionSet": detach_managed_policy,
    "ListCustomerManagedPolicyReferencesInPermissionSet": list_customer_policies,
    "GetPermissionsBoundaryForPermissionSet": get_permissions_boundary,
    "ListTagsForResource": list_tags,
    "TagResource": tag,
    "UntagResource": untag,
}
