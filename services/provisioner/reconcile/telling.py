"""What is said beside the facts when a visit has committed: metrics, and alerts for whoever operates JIT.

Called by visit.py outside of any transaction. Decides nothing, stores nothing.
"""

from typing import Final

from services.provisioner.domain.assignments import Assignment, Decision
from services.provisioner.domain.claims import Claim
from services.provisioner.expiry import alert_never_granted
from services.provisioner.identity_center import IdentityCenterError
from services.provisioner.reconcile.tools import GRANT_SECONDS, REVOKE_CALL_LATENESS, REVOKED_LATENESS, Tools
from shared.contracts import access
from shared.observability.logs import logger

UNREAD_BEFORE_ALERT: Final = 5
"""With the pauses between them some fifteen seconds: longer than AWS's passing troubles."""

log = logger("engine")


async def tell(tools: Tools, decision: Decision) -> None:
    """Metrics and alerts of what was just committed."""
    for claim, facts in decision.said:
        for fact in facts:
            await _tell_one(tools, claim, fact, decision.row.last_error)
    if decision.send == "delete" and decision.row.op is not None:
        for late in decision.revoking_since:
            REVOKE_CALL_LATENESS.observe((decision.row.op.started - late).total_seconds())
    if decision.reappeared:
        await tools.context.alerts.raise_alert(
            key=f"reappeared/{decision.row.id}",
            summary="an assignment that had been verified gone is there again, and is revoked again",
            detail=f"user {decision.row.user_id}, account {decision.row.account_id}, "
            f"set {decision.row.set_id}",
            once=True,
        )


async def _tell_one(tools: Tools, claim: Claim, fact: access.AccessFact, last_error: str) -> None:
    if isinstance(fact, access.AccessGranted):
        GRANT_SECONDS.observe((fact.at - claim.starts_at).total_seconds())
    elif isinstance(fact, access.AccessRevoked):
        REVOKED_LATENESS.observe(fact.late_by.total_seconds())
    elif isinstance(fact, access.AccessRevokeDue) and _never_granted(claim, fact):
        await alert_never_granted(tools.context, claim, last_error)
    elif isinstance(fact, access.AccessRevokeDue) and fact.cause_of_end == "failed":
        await _alert_given_up(tools, claim, last_error)
    elif isinstance(fact, access.AccessFailed):
        await _alert_failed(tools, fact)


async def _alert_failed(tools: Tools, fact: access.AccessFailed) -> None:
    """A grant that failed is an operator's business, one that was stopped in time is not.

    What AWS refused was said when it was given up, with AWS's own words.
    """
    stopped = fact.code in {"expired", "terminated", "returned", "withdrawn", "revoked_by_operator"}
    if stopped or fact.code.startswith("aws_"):
        return
    if fact.code == "witness_invalid":
        await tools.context.alerts.raise_alert(
            key=f"witness_invalid/{fact.target_id}",
            summary="a grant was asked for whose approval does not hold",
            detail=f"ticket {fact.ticket_id}, target {fact.target_id}, user {fact.user_id}: {fact.detail}",
            once=True,
        )
        return
    await tools.context.alerts.raise_alert(
        key=f"grant_failed/{fact.grant_id}",
        summary=f"a grant failed: {fact.code}",
        detail=f"ticket {fact.ticket_id}, user {fact.user_id}, account {fact.account_id}, set {fact.set_id}: "
        f"{fact.detail}",
        once=True,
    )


async def _alert_given_up(tools: Tools, claim: Claim, last_error: str) -> None:
    """With AWS's own words, which people only get our sentence for."""
    log.warning("grant given up", grant=claim.id, code=claim.code, error=last_error)
    await tools.context.alerts.raise_alert(
        key=f"grant_failed/{claim.id}",
        summary=f"a grant failed: {claim.code}",
        detail=f"ticket {claim.ticket_id}, user {claim.user_id}, account {claim.account_id}, "
        f"set {claim.set_id}: {last_error or claim.detail}",
        once=True,
    )


def _never_granted(claim: Claim, fact: access.AccessRevokeDue) -> bool:
    return fact.cause_of_end == "expired" and claim.granted_at is None


async def tell_unread(tools: Tools, row: Assignment, error: IdentityCenterError) -> None:
    """Grants wait and revokes are not verified while AWS cannot be read: said after some attempts."""
    times = tools.unread[row.id] = tools.unread.get(row.id, 0) + 1
    if times < UNREAD_BEFORE_ALERT:
        return
    await tools.context.alerts.raise_alert(
        key=f"unreadable/{row.id}",
        summary="AWS cannot be read for an assignment: nothing is granted or verified gone there",
        detail=f"user {row.user_id}, account {row.account_id}, set {row.set_id}: {times} times in a row, "
        f"at last {error}",
    )


async def tell_read(tools: Tools, row: Assignment) -> None:
    """It could be read: whatever was said about that is over."""
    if tools.unread.pop(row.id, 0) >= UNREAD_BEFORE_ALERT:
        await tools.context.alerts.clear(f"unreadable/{row.id}")
