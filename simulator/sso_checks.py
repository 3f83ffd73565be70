"""What every Identity Center operation asks first: does the thing exist, may the caller do this to it.

Raises AWS's errors; used by `sso_sets` and `sso_assignments`, which come after.
"""

from simulator.call import Call
from simulator.errors import denied, invalid, not_found
from simulator.model import Account, Assignment, PermissionSet


def require_instance(call: Call) -> None:
    arn = call.params.get("InstanceArn")
    if arn != call.directory.instance.arn:
        raise not_found(f"Could not find Instance with arn {arn}")


def require_set(call: Call) -> PermissionSet:
    """The permission set the call names, within the instance the call names."""
    require_instance(call)
    arn = call.params["PermissionSetArn"]
    found = call.directory.permission_sets.get(arn)
    if found is None:
        raise not_found(f"Could not find PermissionSet with id {arn.rsplit('/', 1)[1]}")
    return found


def require_account(call: Call, account: str) -> Account:
    found = call.directory.accounts.get(account)
    if found is None:
        raise not_found(f"Could not find Account with id {account} in the organization")
    return found


def require_principal(call: Call, principal_type: str, principal: str) -> None:
    if not call.directory.has_principal(principal_type, principal):
        raise not_found(f"{principal_type} not found: {principal}")


def named_assignment(call: Call) -> Assignment:
    """The assignment the call names; its set and account exist, its principal perhaps no longer."""
    require_set(call)
    require_account(call, call.params["TargetId"])
    return Assignment(
        account=call.params["TargetId"],
        permission_set=call.params["PermissionSetArn"],
        principal_type=call.params["PrincipalType"],
        principal=call.params["PrincipalId"],
    )


def refuse_delegated_in_management(call: Call, permission_set: str, account: str | None = None) -> None:
    """A delegated administrator may not touch the management account, nor any set provisioned in it."""
    if call.world.settings.caller == "management":
        return
    management = call.directory.management
    if account == management or (management, permission_set) in call.world.truth.roles:
        raise denied(_not_authorized(call))


def refuse_delegated(call: Call) -> None:
    """For operations that AWS answers from the management account only."""
    if call.world.settings.caller != "management":
        raise denied(_not_authorized(call))


def refuse_bad_duration(duration: str) -> None:
    """A session lasts 1 to 12 hours, given in hours, minutes and seconds (PT1H30M)."""
    seconds = 0
    digits = ""
    for letter in duration.removeprefix("PT"):
        if letter.isdigit():
            digits += letter
        elif letter in "HMS" and digits:
            seconds += int(digits) * {"H": 3600, "M": 60, "S": 1}[letter]
            digits = ""
        else:
            raise invalid(f"Session duration {duration} is not valid.")
    if not 3600 <= seconds <= 12 * 3600:
        raise invalid("Session duration must be between 1 and 12 hours.")


def _not_authorized(call: Call) -> str:
    administrator = call.directory.delegated[0].account if call.directory.delegated else "unknown"
    principal = f"arn:aws:sts::{administrator}:assumed-role/IdentityCenterAdministrator/session"
    return f"User: {principal} is not authorized to perform: sso:{call.operation}"
