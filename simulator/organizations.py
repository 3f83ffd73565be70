"""Organizations' operations on the organisation's accounts and units; lists give at most 20 rows a page.

Accounts carry both State and the older Status, which knows fewer values.
"""

from typing import Any

from simulator.call import Call, Operation
from simulator.errors import ApiError
from simulator.model import Account, DelegatedAdministrator, Unit

_PAGE = 20
_STATUS_OF_STATE = {"PENDING_ACTIVATION": "ACTIVE", "CLOSED": "SUSPENDED"}


def describe_organization(call: Call) -> dict[str, Any]:
    management = call.directory.accounts[call.directory.management]
    return {
        "Organization": {
            "Id": call.directory.organisation_id,
            "Arn": _arn(call, "organization", ""),
            "FeatureSet": "ALL",
            "MasterAccountArn": _arn(call, "account", management.id),
            "MasterAccountId": management.id,
            "MasterAccountEmail": management.email,
            "AvailablePolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
        },
    }


def list_roots(call: Call) -> dict[str, Any]:
    root = {
        "Id": call.directory.root_id,
        "Arn": _arn(call, "root", call.directory.root_id),
        "Name": "Root",
        "PolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
    }
    return call.page_of("Roots", [root], key=lambda row: str(row["Id"]), show=lambda row: row, largest=_PAGE)


def list_accounts(call: Call) -> dict[str, Any]:
    return _accounts(call, list(call.directory.accounts.values()))


def list_accounts_for_parent(call: Call) -> dict[str, Any]:
    parent = _require_parent(call)
    return _accounts(call, _accounts_in(call, parent))


def _accounts(call: Call, accounts: list[Account]) -> dict[str, Any]:
    return call.page_of(
        "Accounts", accounts, key=lambda row: row.id, show=lambda row: _account(call, row), largest=_PAGE
    )


def describe_account(call: Call) -> dict[str, Any]:
    found = call.directory.accounts.get(call.params["AccountId"])
    if found is None:
        raise _missing("AccountNotFoundException", "an account that is not in your organization")
    return {"Account": _account(call, found)}


def _account(call: Call, account: Account) -> dict[str, Any]:
    return {
        "Id": account.id,
        "Arn": _arn(call, "account", account.id),
        "Email": account.email,
        "Name": account.name,
        "Status": _STATUS_OF_STATE.get(account.state, account.state),
        "State": account.state,
        "Paths": [f"{call.directory.path_to(account.parent)}{account.id}/"],
        "JoinedMethod": account.joined_method,
        "JoinedTimestamp": account.joined_at,
    }


def list_units(call: Call) -> dict[str, Any]:
    units = _units_in(call, _require_parent(call))
    return call.page_of(
        "OrganizationalUnits", units, key=lambda row: row.id, show=lambda row: _unit(call, row), largest=_PAGE
    )


def describe_unit(call: Call) -> dict[str, Any]:
    found = call.directory.units.get(call.params["OrganizationalUnitId"])
    if found is None:
        raise _missing("OrganizationalUnitNotFoundException", "an organizational unit that does not exist")
    return {"OrganizationalUnit": _unit(call, found)}


def _unit(call: Call, unit: Unit) -> dict[str, Any]:
    path = call.directory.path_to(unit.id)
    return {"Id": unit.id, "Arn": _arn(call, "ou", unit.id), "Name": unit.name, "Path": path}


def list_children(call: Call) -> dict[str, Any]:
    parent, kind = _require_parent(call), call.params["ChildType"]
    rows = _accounts_in(call, parent) if kind == "ACCOUNT" else _units_in(call, parent)
    return call.page_of(
        "Children",
        [row.id for row in rows],
        key=str,
        show=lambda child: {"Id": child, "Type": kind},
        largest=_PAGE,
    )


def list_parents(call: Call) -> dict[str, Any]:
    child = call.params["ChildId"]
    found = call.directory.accounts.get(child) or call.directory.units.get(child)
    if found is None:
        raise _missing("ChildNotFoundException", "a child that does not exist")
    kind = "ROOT" if found.parent == call.directory.root_id else "ORGANIZATIONAL_UNIT"
    return call.page_of(
        "Parents", [found.parent], key=str, show=lambda parent: {"Id": parent, "Type": kind}, largest=_PAGE
    )


def list_tags(call: Call) -> dict[str, Any]:
    return call.page_of(
        "Tags",
        list(_tags_of(call, call.params["ResourceId"]).items()),
        key=lambda row: row[0],
        show=lambda row: {"Key": row[0], "Value": row[1]},
        largest=50,
    )


def _tags_of(call: Call, resource: str) -> dict[str, str]:
    if resource == call.directory.root_id:
        return call.directory.root_tags
    found = call.directory.accounts.get(resource) or call.directory.units.get(resource)
    if found is None:
        raise _missing("TargetNotFoundException", "a target that does not exist")
    return found.tags


def list_delegated_administrators(call: Call) -> dict[str, Any]:
    wanted = call.params.get("ServicePrincipal")
    rows = [row for row in call.directory.delegated if wanted in {None, row.service}]
    return call.page_of(
        "DelegatedAdministrators",
        list({row.account: row for row in rows}.values()),
        key=lambda row: row.account,
        show=lambda row: _delegated(call, row),
        largest=_PAGE,
    )


def _delegated(call: Call, row: DelegatedAdministrator) -> dict[str, Any]:
    shown = _account(call, call.directory.accounts[row.account])
    del shown["Paths"]
    return shown | {"DelegationEnabledDate": row.since}


def _require_parent(call: Call) -> str:
    parent: str = call.params["ParentId"]
    if parent != call.directory.root_id and parent not in call.directory.units:
        raise _missing("ParentNotFoundException", "a parent that does not exist")
    return parent


def _accounts_in(call: Call, parent: str) -> list[Account]:
    return [account for account in call.directory.accounts.values() if account.parent == parent]


def _units_in(call: Call, parent: str) -> list[Unit]:
    return [unit for unit in call.directory.units.values() if unit.parent == parent]


def _missing(code: str, what: str) -> ApiError:
    return ApiError(code, f"You specified {what}.")


def _arn(call: Call, kind: str, resource: str) -> str:
    directory = call.directory
    ending = f"/{resource}" if resource else ""
    return f"arn:aws:organizations::{directory.management}:{kind}/{directory.organisation_id}{ending}"


OPERATIONS: dict[str, Operation] = {
    "DescribeOrganization": describe_organization,
    "ListRoots": list_roots,
    "ListAccounts": list_accounts,
    "DescribeAccount": describe_account,
    "ListOrganizationalUnitsForParent": list_units,
    "DescribeOrganizationalUnit": describe_unit,
    "ListChildren": list_children,
    "ListParents": list_parents,
    "ListAccountsForParent": list_accounts_for_parent,
    "ListTagsForResource": list_tags,
    "ListDelegatedAdministrators": list_delegated_administrators,
}
