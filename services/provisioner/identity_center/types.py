"""What Identity Center adds to the port's types (driver.py): its instance, credentials, the rate limiter."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.provisioner.driver import DriverError

Limiter = Callable[[str], Awaitable[None]]
"""Waits until a call of that priority may be sent."""


class IdentityCenterError(DriverError):
    """A call to AWS that failed."""


@dataclass(frozen=True, slots=True)
class Instance:
    arn: str
    identity_store_id: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS credentials given by the caller; without them the SDK's own chain (role, environment) is used."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
