"""How a claim is over at last: its assignment is gone from AWS, or it is there for another reason.

Pure. What was never granted has failed, whatever ended it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.transitions import end_of, fact_of, moved
from shared.contracts import access
from shared.contracts.change import Change, Origin


def close_absent(
    claim: Claim,
    origin: Origin,
    *,
    absent_first: datetime,
    request_id: str | None,
    also_through: tuple[str, ...] = (),
) -> Change[Claim]:
    """Read back without the assignment, often and long enough: revoked, or failed if never granted.

    `request_id` is the deletion's; one that failed names the creation instead. `also_through` are groups of
    the user that hold the same access, which is not JIT's to take away.
    """
    if claim.granted_at is None:
        return _fail(claim, origin, gone_at=absent_first)
    ended_at = end_of(claim)
    until = max(absent_first, ended_at) + claim.session_duration
    after = replace(moved(claim, ClaimState.REVOKED), code=claim.end_cause, credentials_until=until)
    fact = fact_of(
        access.AccessRevoked,
        after,
        origin.because("read back from AWS: it is gone"),
        cause_of_end=claim.end_cause,
        request_id=request_id,
        late_by=max(absent_first - ended_at, timedelta(0)),
        credentials_until=until,
        also_through=also_through,
    )
    return Change(after, (fact,))


def undo(claim: Claim, origin: Origin, *, seen: bool, request_id: str | None) -> Change[Claim]:
    """What was never granted is about to be deleted: remember the creation, and whether AWS showed it.

    Without a fact before it is over.
    """
    if claim.granted_at is not None or claim.state is not ClaimState.REVOKING:
        return Change(claim)
    seen_at = claim.seen_at or (origin.at if seen else None)
    return Change(replace(claim, seen_at=seen_at, request_id=claim.request_id or request_id))


def release(claim: Claim, origin: Origin, *, kept_by: tuple[str, ...]) -> Change[Claim]:
    """This claim is over, the access is not; `kept_by` says because of what. Failed if never granted."""
    if claim.granted_at is None:
        return _fail(claim, origin, gone_at=origin.at, kept_by=kept_by)
    until = end_of(claim) + claim.session_duration
    after = replace(
        moved(claim, ClaimState.RELEASED),
        code=claim.code or claim.end_cause,
        kept_by=kept_by,
        credentials_until=until,
    )
    fact = fact_of(
        access.AccessReleased,
        after,
        origin.because("the assignment stays for another reason"),
        cause_of_end=claim.end_cause,
        kept_by=kept_by,
        credentials_until=until,
    )
    return Change(after, (fact,))


def _fail(claim: Claim, origin: Origin, *, gone_at: datetime, kept_by: tuple[str, ...] = ()) -> Change[Claim]:
    """Over without ever having been granted: failed, by what it ended with.

    Credentials are spoken of only where AWS showed the access, which was gone (or another's) at `gone_at`.
    """
    until = gone_at + claim.session_duration if claim.seen_at else None
    after = replace(
        moved(claim, ClaimState.FAILED),
        code=claim.code or claim.end_cause,
        kept_by=kept_by,
        detail=claim.detail or _why_never(claim, kept_by),
        credentials_until=until,
    )
    fact = fact_of(
        access.AccessFailed,
        after,
        origin.because(after.detail),
        code=after.code,
        detail=after.detail,
        request_id=after.request_id,
        kept_by=kept_by,
        credentials_until=until,
    )
    return Change(after, (fact,))


def _why_never(claim: Claim, kept_by: tuple[str, ...]) -> str:
    why = "it ended before AWS was seen to give it"
    if claim.seen_at is not None:
        why += "; AWS showed it for a short time after that"
    return f"{why}; the same access goes on for another reason" if kept_by else why
