"""What a saved change leaves behind besides rows and facts: a log line per fact, and the figures of promises.

Run after the commit. Decides nothing, stores nothing.
"""

from typing import Final

from prometheus_client import Histogram

from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import SERVICE, ClaimState
from shared.contracts import access
from shared.contracts.access import AccessFact, AccessGranted, AccessRevoked, AccessRevokeDue, EndCause
from shared.contracts.change import Change
from shared.observability.logs import logger

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600)
END_LATENESS: Final = Histogram(
    "jit_end_lateness_seconds", "From the end of a window to its revoke event", buckets=_BUCKETS
)
REVOKE_CALL_LATENESS: Final = Histogram(
    "jit_revoke_call_lateness_seconds", "From the end of a claim to the revoke call", buckets=_BUCKETS
)
REVOKED_LATENESS: Final = Histogram(
    "jit_revoked_lateness_seconds",
    "From the end of a claim to the first reading without the assignment",
    buckets=_BUCKETS,
)
GRANT_SECONDS: Final = Histogram(
    "jit_grant_seconds", "From the opening of a window to the read-back", buckets=_BUCKETS
)

_LINES: Final[dict[type[AccessFact], str]] = {
    access.AccessScheduled: "grant scheduled",
    access.AccessGranting: "grant granting",
    access.AccessGranted: "grant granted",
    access.AccessFailed: "grant failed",
    access.AccessExtended: "grant extended",
    access.AccessExtensionFailed: "grant extension failed",
    access.AccessRevokeDue: "grant revoke due",
    access.AccessRevoked: "grant revoked",
    access.AccessReleased: "grant released",
    access.AccessRevokeOverdue: "grant revoke overdue",
}

log = logger("grants")


def log_change(before: Assignment, change: Change[Assignment]) -> None:
    """One line per fact, which is one per change of a grant's state."""
    for fact in change.events:
        if isinstance(fact, AccessFact):
            log_fact(fact)
            _measure_fact(change.state, fact)
    _measure_call(before, change.state)


def log_fact(fact: AccessFact) -> None:
    reason = getattr(fact, "code", None) or getattr(fact, "cause_of_end", None)
    log.info(
        _LINES[type(fact)],
        service=SERVICE,
        ticket=fact.ticket_id,
        grant=fact.grant_id,
        account=fact.account_id,
        user=fact.user_id,
        set=fact.set_id,
        **({"code": str(reason)} if reason else {}),
    )


def _measure_fact(after: Assignment, fact: AccessFact) -> None:
    claim = after.claim(fact.grant_id)
    if isinstance(fact, AccessGranted) and claim is not None:
        GRANT_SECONDS.observe((fact.at - claim.starts_at).total_seconds())
    elif isinstance(fact, AccessRevokeDue) and fact.cause_of_end is EndCause.EXPIRED:
        END_LATENESS.observe(fact.late_by.total_seconds())
    elif isinstance(fact, AccessRevoked):
        REVOKED_LATENESS.observe(fact.late_by.total_seconds())


def _measure_call(before: Assignment, after: Assignment) -> None:
    """A deletion that was begun by this change, for each claim that waits for it."""
    if before.op is not None or after.op is None or after.op.kind != "delete":
        return
    for claim in after.in_state(ClaimState.REVOKING):
        if claim.ended_at is not None:
            REVOKE_CALL_LATENESS.observe((after.op.started - claim.ended_at).total_seconds())
