"""A claim's life up to its end: each transition answers the claim after it and the facts of it, in order.

Pure. How it is over at last is in closing.py. What happens to the assignment is decided in decisions.py,
which also says which claims move; whom a fact alarms is in alarms.py.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.provisioner.domain.claims import (
    ASKED,
    Claim,
    ClaimExtension,
    ClaimExtensionState,
    ClaimState,
)
from services.provisioner.domain.transitions import end_of, fact_of, impossible, moved, next_version
from shared.contracts import access
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.foundation.errors import Bug

EXTENDABLE: Final = frozenset({ClaimState.SCHEDULED, *ASKED})
"""Approved and witnessed, and not at an end."""
TOO_LATE: Final = "the access had ended by then"


def schedule(claim: Claim, origin: Origin, *, approval_holds: bool) -> Change[Claim]:
    """Ticket and the approval service agree: stored with its end, nothing asked of AWS.

    Unless `approval_holds`, the votes are still to be judged before anything is asked.
    """
    after = replace(moved(claim, ClaimState.SCHEDULED), approval_holds=approval_holds)
    origin = origin.because("approved, and the witness agrees")
    return Change(after, (fact_of(access.AccessScheduled, after, origin, starts_at=claim.starts_at),))


def begin(claim: Claim, origin: Origin) -> Change[Claim]:
    """Re-checked, and about to be asked of AWS. Committed before the first call."""
    after = moved(claim, ClaimState.GRANTING)
    origin = origin.because("the window is open and the re-check passed")
    return Change(after, (fact_of(access.AccessGranting, after, origin),))


def grant(claim: Claim, origin: Origin, *, already_held: bool, request_id: str | None) -> Change[Claim]:
    """Read back from AWS: it is there."""
    until = claim.ends_at + claim.session_duration
    after = replace(
        moved(claim, ClaimState.ACTIVE),
        granted_at=origin.at,
        already_held=already_held,
        request_id=request_id,
        credentials_until=until,
    )
    fact = fact_of(
        access.AccessGranted,
        after,
        origin.because(_why_granted(already_held, request_id)),
        request_id=request_id,
        already_held=already_held,
        credentials_until=until,
    )
    return Change(after, (fact,))


def _why_granted(already_held: bool, request_id: str | None) -> str:
    if already_held:
        return "found in AWS and not JIT's"
    if request_id is None:
        return "found in AWS, by which request is not known; it ends with its last grant"
    return "read back from AWS"


def refuse(claim: Claim, origin: Origin, *, code: str, detail: str) -> Change[Claim]:
    """Never asked of AWS and never will be."""
    if claim.state not in {ClaimState.WAITING, ClaimState.SCHEDULED}:
        raise impossible(claim, ClaimState.FAILED)
    ended_at = claim.ended_at or origin.at
    after = replace(moved(claim, ClaimState.FAILED), ended_at=ended_at, code=code, detail=detail)
    fact = fact_of(access.AccessFailed, after, origin.because(detail), code=code, detail=detail)
    return Change(after, (fact,)).then(_fail_extensions(after, origin))


def end(claim: Claim, origin: Origin, *, cause: EndCause) -> Change[Claim]:
    """The claim is over. What AWS was asked for is now to be revoked; what was not has simply failed.

    Idempotent: an ended claim stays as it is, without a fact.
    """
    if not claim.is_open:
        return Change(claim)
    asked = claim.state in ASKED
    ended_at = claim.ends_at if cause == EndCause.EXPIRED else origin.at
    due = replace(
        moved(claim, ClaimState.REVOKING) if asked else next_version(claim),
        ended_at=ended_at,
        end_cause=cause,
    )
    late_by = max(origin.at - ended_at, timedelta(0))
    fact = fact_of(access.AccessRevokeDue, due, origin, cause_of_end=cause, late_by=late_by)
    if asked:
        return Change(due, (fact,)).then(_fail_extensions(due, origin))
    refused = refuse(due, origin, code=cause, detail="it ended before anything was asked of AWS")
    return replace(refused, events=(fact, *refused.events))


def give_up(claim: Claim, origin: Origin, *, code: str, detail: str, request_id: str | None) -> Change[Claim]:
    """The creation (`request_id`) failed for good. The claim fails once AWS was read back without it."""
    after = replace(
        moved(claim, ClaimState.REVOKING),
        ended_at=origin.at,
        end_cause=EndCause.FAILED,
        code=code,
        detail=detail,
        request_id=request_id,
    )
    origin = origin.because(f"could not be granted: {detail}")
    fact = fact_of(access.AccessRevokeDue, after, origin, cause_of_end=EndCause.FAILED)
    return Change(after, (fact,)).then(_fail_extensions(after, origin))


def mark_overdue(claim: Claim, origin: Origin, *, last_error: str) -> Change[Claim]:
    """The revoke is late beyond the objective; a fact once for each claim."""
    if claim.state is not ClaimState.REVOKING or claim.overdue_at is not None:
        return Change(claim)
    after = replace(next_version(claim), overdue_at=origin.at)
    fact = fact_of(
        access.AccessRevokeOverdue,
        after,
        origin.because("the revoke is retried for ever, and is late"),
        overdue_by=origin.at - end_of(claim),
        last_error=last_error,
    )
    return Change(after, (fact,))


def extend(claim: Claim, extension: ClaimExtension, origin: Origin) -> Change[Claim]:
    """Approved, witnessed and re-checked: the end moves, and nothing else. Never of a claim that is over."""
    if claim.state not in EXTENDABLE or not origin.at < claim.ends_at < extension.ends_at:
        raise Bug(
            f"claim {claim.id} cannot be extended as it is ({claim.state}); this is a bug",
            code="claim_extension",
        )
    until = extension.ends_at + claim.session_duration
    after = replace(
        _settle(claim, extension, origin, state=ClaimExtensionState.EXTENDED).extended_by(extension),
        approval_holds=True,
        credentials_until=until if claim.granted_at else None,
    )
    fact = fact_of(
        access.AccessExtended,
        after,
        _caused(origin, extension).because("its extension was approved, and the witness agrees"),
        subject_id=extension.subject_id,
        ended_before=claim.ends_at,
        credentials_until=until,
    )
    return Change(after, (fact,))


def fail_extension(
    claim: Claim, extension: ClaimExtension, origin: Origin, *, code: str, detail: str
) -> Change[Claim]:
    """The end stays as it is, or as it was."""
    after = _settle(claim, extension, origin, state=ClaimExtensionState.FAILED, code=code, detail=detail)
    fact = fact_of(
        access.AccessExtensionFailed,
        after,
        _caused(origin, extension).because(detail),
        subject_id=extension.subject_id,
        code=code,
        detail=detail,
    )
    return Change(after, (fact,))


def why_over(claim: Claim) -> tuple[str, str]:
    """Code and detail for extensions of a claim that has ended."""
    if claim.end_cause is EndCause.EXPIRED:
        return "too_late", TOO_LATE
    if claim.end_cause is not None and claim.end_cause.is_stop:
        return "stopped", "the access was stopped before it could be extended"
    return "not_granted", "the access it would extend could not be given"


def _fail_extensions(claim: Claim, origin: Origin) -> Change[Claim]:
    """Of a claim that is over now: what waited waits for nothing."""
    code, detail = why_over(claim)
    change: Change[Claim] = Change(claim)
    for extension in claim.waiting:
        change = change.then(fail_extension(change.state, extension, origin, code=code, detail=detail))
    return change


def _settle(
    claim: Claim,
    extension: ClaimExtension,
    origin: Origin,
    *,
    state: ClaimExtensionState,
    code: str | None = None,
    detail: str = "",
) -> Claim:
    decided = replace(extension, state=state, code=code, detail=detail, decided_at=origin.at)
    others = (decided if one.subject_id == extension.subject_id else one for one in claim.extensions)
    return replace(next_version(claim), extensions=tuple(others))


def _caused(origin: Origin, extension: ClaimExtension) -> Origin:
    return replace(origin, cause=origin.cause or extension.cause)
