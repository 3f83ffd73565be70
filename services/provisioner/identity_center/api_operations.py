"""Every AWS operation the adapter calls, in one closed table.

`calls` accepts nothing else, and the IAM policies in docs/aws-permissions.md are checked against it.
"""

from dataclasses import dataclass
from typing import Final, Literal

Api = Literal["sso-admin", "identitystore", "organizations"]

APIS: Final[tuple[Api, ...]] = ("sso-admin", "identitystore", "organizations")
_IAM_PREFIX: Final[dict[Api, str]] = {
    "sso-admin": "sso",
    "identitystore": "identitystore",
    "organizations": "organizations",
}


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation. A mutating one is sent exactly once: the SDK must not repeat it."""

    api: Api
    name: str
    mutating: bool = False
    page: int = 0
    """Rows asked for per page (AWS's maximum: fewer calls); 0 where the operation cannot be told."""

    @property
    def action(self) -> str:
        """The IAM action that allows it."""
        return f"{_IAM_PREFIX[self.api]}:{self.name}"


LIST_INSTANCES: Final = ApiOperation("sso-admin", "ListInstances", page=100)
LIST_ASSIGNMENTS: Final = ApiOperation("sso-admin", "ListAccountAssignments", page=100)
CREATE_ASSIGNMENT: Final = ApiOperation("sso-admin", "CreateAccountAssignment", mutating=True)
DELETE_ASSIGNMENT: Final = ApiOperation("sso-admin", "DeleteAccountAssignment", mutating=True)
DESCRIBE_CREATION: Final = ApiOperation("sso-admin", "DescribeAccountAssignmentCreationStatus")
DESCRIBE_DELETION: Final = ApiOperation("sso-admin", "DescribeAccountAssignmentDeletionStatus")
LIST_CREATIONS: Final = ApiOperation("sso-admin", "ListAccountAssignmentCreationStatus", page=100)
LIST_DELETIONS: Final = ApiOperation("sso-admin", "ListAccountAssignmentDeletionStatus", page=100)
LIST_SETS: Final = ApiOperation("sso-admin", "ListPermissionSets", page=100)
DESCRIBE_SET: Final = ApiOperation("sso-admin", "DescribePermissionSet")
GET_INLINE_POLICY: Final = ApiOperation("sso-admin", "GetInlinePolicyForPermissionSet")
GET_BOUNDARY: Final = ApiOperation("sso-admin", "GetPermissionsBoundaryForPermissionSet")
LIST_MANAGED: Final = ApiOperation("sso-admin", "ListManagedPoliciesInPermissionSet", page=100)
LIST_CUSTOMER: Final = ApiOperation(
    "sso-admin", "ListCustomerManagedPolicyReferencesInPermissionSet", page=100
)
LIST_SET_TAGS: Final = ApiOperation("sso-admin", "ListTagsForResource")

DESCRIBE_USER: Final = ApiOperation("identitystore", "DescribeUser")
LIST_USERS: Final = ApiOperation("identitystore", "ListUsers", page=100)
LIST_GROUPS: Final = ApiOperation("identitystore", "ListGroups", page=100)
LIST_MEMBERS: Final = ApiOperation("identitystore", "ListGroupMemberships", page=100)

DESCRIBE_ORGANIZATION: Final = ApiOperation("organizations", "DescribeOrganization")
LIST_ROOTS: Final = ApiOperation("organizations", "ListRoots", page=20)
LIST_UNITS: Final = ApiOperation("organizations", "ListOrganizationalUnitsForParent", page=20)
LIST_ACCOUNTS: Final = ApiOperation("organizations", "ListAccounts", page=20)
DESCRIBE_ACCOUNT: Final = ApiOperation("organizations", "DescribeAccount")
LIST_PARENTS: Final = ApiOperation("organizations", "ListParents", page=20)
LIST_ACCOUNT_TAGS: Final = ApiOperation("organizations", "ListTagsForResource")
LIST_DELEGATED: Final = ApiOperation("organizations", "ListDelegatedAdministrators", page=20)

OPERATIONS: Final = (
    LIST_INSTANCES,
    LIST_ASSIGNMENTS,
    CREATE_ASSIGNMENT,
    DELETE_ASSIGNMENT,
    DESCRIBE_CREATION,
    DESCRIBE_DELETION,
    LIST_CREATIONS,
    LIST_DELETIONS,
    LIST_SETS,
    DESCRIBE_SET,
    GET_INLINE_POLICY,
    GET_BOUNDARY,
    LIST_MANAGED,
    LIST_CUSTOMER,
    LIST_SET_TAGS,
    DESCRIBE_USER,
    LIST_USERS,
    LIST_GROUPS,
    LIST_MEMBERS,
    DESCRIBE_ORGANIZATION,
    LIST_ROOTS,
    LIST_UNITS,
    LIST_ACCOUNTS,
    DESCRIBE_ACCOUNT,
    LIST_PARENTS,
    LIST_ACCOUNT_TAGS,
    LIST_DELEGATED,
)
