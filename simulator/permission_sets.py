"""The permission sets of an organisation file, expanded into records with their policies.

Called by `organisation` only.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from simulator.model import PermissionSet

_AWS_MANAGED = "arn:aws:iam::aws:policy/"


def read_permission_sets(
    entries: dict[str, Any], instance: str, created_at: float
) -> Iterator[PermissionSet]:
    """`instance` is the last part of the instance's ARN, which is part of each set's."""
    for name, entry in entries.items():
        suffix = hashlib.sha256(f"permission-set:{name}".encode()).hexdigest()[:16]
        yield PermissionSet(
            arn=f"arn:aws:sso:::permissionSet/{instance}/ps-{suffix}",
            name=name,
            description=entry["about"],
            session_duration=entry.get("duration", "PT1H"),
            created_at=created_at,
            managed_policies=tuple(_AWS_MANAGED + policy for policy in entry.get("policies", [])),
            customer_policies=tuple((policy, "/") for policy in entry.get("customer", [])),
            inline_policy=_policy(entry["inline"]) if "inline" in entry else "",
            boundary_policy=_AWS_MANAGED + entry["boundary"] if "boundary" in entry else None,
            tags={"jit-managed": "true"} if entry.get("jit") else {},
        )


def _policy(actions: list[str]) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
