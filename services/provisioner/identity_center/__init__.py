"""The only door to AWS's sso-admin, identitystore and organizations: our types in, our errors out."""

from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import (
    AssignmentKey,
    Credentials,
    IdentityCenterError,
    Instance,
    Kind,
    Limiter,
    Operation,
    Principal,
    Priority,
    Problem,
    UserStatus,
)

__all__ = [
    "AssignmentKey",
    "Credentials",
    "IdentityCenter",
    "IdentityCenterError",
    "Instance",
    "Kind",
    "Limiter",
    "Operation",
    "Principal",
    "Priority",
    "Problem",
    "UserStatus",
]
