"""What a visit works with, and the numbers and metrics of the engine. Decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import Histogram

from services.provisioner.domain.assignments import Limits
from services.provisioner.domain.claims import Stamp
from services.provisioner.expiry import LATENESS_BUCKETS
from services.provisioner.identity_center import IdentityCenter, IdentityCenterError, Problem
from services.provisioner.lease import Lease
from services.provisioner.limits import TokenBucket
from shared.context import Context
from shared.foundation.errors import NotReady

REVOKE_CALL_LATENESS = Histogram(
    "jit_revoke_call_lateness_seconds", "From the end of a claim to the revoke call", buckets=LATENESS_BUCKETS
)
REVOKED_LATENESS = Histogram(
    "jit_revoked_lateness_seconds",
    "From the end of a claim to the first reading without the assignment",
    buckets=LATENESS_BUCKETS,
)
GRANT_SECONDS = Histogram(
    "jit_grant_seconds", "From the opening of a window to the read-back", buckets=LATENESS_BUCKETS
)


@dataclass(frozen=True, slots=True)
class Tools:
    """Made once per engine. `jitter` gives a number in 0..1 each time."""

    context: Context
    identity_center: IdentityCenter
    lease: Lease
    bucket: TokenBucket
    limits: Limits
    jitter: Callable[[], float]
    policy_retry: timedelta = timedelta(seconds=2)
    unread: dict[int, int] = field(default_factory=dict)
    """How often in a row AWS could not be read for an assignment."""

    @property
    def now(self) -> datetime:
        return self.context.clock.now()

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.now, self.context.actor)

    @property
    def policy_ready(self) -> bool:
        return policy_ready(self.context)

    def note(self, error: IdentityCenterError) -> None:
        """Others share AWS's quota: when it says we are too fast we are, whatever we counted."""
        if error.problem is Problem.THROTTLED:
            self.bucket.slow_down()


def policy_ready(context: Context) -> bool:
    """Whether policy and inventory are complete and fresh enough to grant by."""
    try:
        context.tables.require_fresh()
    except NotReady:
        return False
    return True
