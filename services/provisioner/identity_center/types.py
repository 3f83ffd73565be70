"""What Identity Center adds to the port's types (driver.py): its instance, credentials, the rate limiter."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from services.provisioner.driver import DriverError

CHANGE_TIMEOUT_S: Final = 3.0
"""From sending a change to its answer, which only says that AWS has taken it. What takes longer may have been
taken, and is looked for."""


class Limiter(Protocol):
    """Says when a call may be sent: within AWS's limits, which it has for each of its services, and by us."""

    async def __call__(self, priority: str, service: str, /) -> None:
        """Wait until a call of that priority may be sent to the service (as the SDK names it)."""
        ...

    def check(self, *, changes: bool) -> None:
        """Asked right before the send: raises what keeps a call that does (or does not) change AWS back."""
        ...

    def throttled(self, service: str, /) -> None:
        """Be told that AWS refused one as too many."""
        ...


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
