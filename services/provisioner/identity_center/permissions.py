"""IAM policies that allow what the adapter calls and nothing else, made from the table of operations. Pure.

`jit iam-policy` prints them, docs/aws-permissions.md shows them. Alerts by SNS are the one call to AWS that
is not the adapter's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from services.provisioner.identity_center.api_operations import OPERATIONS, Api

Feature = Literal["reader", "provisioner", "sns"]

FEATURES: Final[tuple[Feature, ...]] = ("reader", "provisioner", "sns")
MANAGED_TAG: Final = ("jit-managed", "true")
"""What a permission set has to carry to be assigned, unless somebody chooses another."""
_READING: Final[dict[Api, str]] = {
    "sso-admin": "ReadIdentityCenter",
    "identitystore": "ReadIdentityStore",
    "organizations": "ReadOrganization",
}
_PUBLISH: Final = "sns:Publish"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the policies are narrowed to."""

    instance_arn: str
    accounts: tuple[str, ...] = ()
    """Those in which access may be given and taken; all where none is named."""
    tag: tuple[str, str] | None = MANAGED_TAG
    """Key and value that a permission set must carry; None for any set."""
    topic_arn: str | None = None
    """Of alerts."""

    @property
    def partition(self) -> str:
        return self.instance_arn.split(":")[1]

    @property
    def instance_id(self) -> str:
        return self.instance_arn.rpartition("/")[2]


def policy(feature: Feature, scope: Scope) -> dict[str, Any]:
    """One IAM policy document. `sns` needs the topic."""
    statements = {
        "reader": _reading,
        "provisioner": lambda asked: [*_reading(asked), *_assigning(asked)],
        "sns": _publishing,
    }[feature](scope)
    return {"Version": "2012-10-17", "Statement": statements}


def _reading(_: Scope) -> list[dict[str, Any]]:
    """Reads have no secrets of their own, and most of them take no narrower resource than all."""
    return [
        _statement(sid, (one.action for one in OPERATIONS if one.api == api and not one.mutating), ("*",))
        for api, sid in _READING.items()
    ]


def _assigning(scope: Scope) -> list[dict[str, Any]]:
    """An assignment names three resources (instance, account, set), and IAM wants each allowed.

    A condition on the tag of a resource fails for those without tags, so the set has a statement of its own.
    """
    actions = [one.action for one in OPERATIONS if one.mutating]
    accounts = [f"arn:{scope.partition}:sso:::account/{account}" for account in scope.accounts or ("*",)]
    sets = f"arn:{scope.partition}:sso:::permissionSet/{scope.instance_id}/*"
    if scope.tag is None:
        return [_statement("Assign", actions, (scope.instance_arn, *accounts, sets))]
    key, value = scope.tag
    tagged = {"StringEquals": {f"aws:ResourceTag/{key}": value}}
    where = "AssignInNamedAccounts" if scope.accounts else "AssignInAnyAccount"
    return [
        _statement(where, actions, (scope.instance_arn, *accounts)),
        {**_statement("AssignTaggedSetsOnly", actions, (sets,)), "Condition": tagged},
    ]


def _publishing(scope: Scope) -> list[dict[str, Any]]:
    return [_statement("PublishAlerts", (_PUBLISH,), (scope.topic_arn or "*",))]


def _statement(sid: str, actions: Iterable[str], resources: Sequence[str]) -> dict[str, Any]:
    found = sorted(actions)
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": found,
        "Resource": resources[0] if tuple(resources) == ("*",) else list(resources),
    }
