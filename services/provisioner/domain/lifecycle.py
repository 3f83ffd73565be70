"""A claim's life: each transition answers the claim after it and the facts of it, in order.

Pure. What happens to the assignment is decided in decisions.py, which also says which claims move; whom a
fact alarms is in alarms.py.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.provisioner.domain.claims import (
    ASKED,
    TRANSITIONS,
    Claim,
    ClaimExtension,
    ClaimExtensionState,
    ClaimState,
)
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
    after = replace(_move(claim, ClaimState.SCHEDULED), approval_holds=approval_holds)
    origin = origin.because("approved, and the witness agrees")
    return Change(after, (_fact(access.AccessScheduled, after, origin, starts_at=claim.starts_at),))


def begin(claim: Claim, origin: Origin) -> Change[Claim]:
    """Re-checked, and about to be asked of AWS. Committed before the first call."""
    after = _move(claim, ClaimState.GRANTING)
    origin = origin.because("the window is open and the re-check passed")
    return Change(after, (_fact(access.AccessGranting, after, origin),))


def grant(claim: Claim, origin: Origin, *, already_held: bool, request_id: str | None) -> Change[Claim]:
    """Read back from AWS: it is there."""
    until = claim.ends_at + claim.session_duration
    after = replace(
        _move(claim, ClaimState.ACTIVE),
        granted_at=origin.at,
        already_held=already_held,
        request_id=request_id,
        credentials_until=until,
    )
    fact = _fact(
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
        raise _impossible(claim, ClaimState.FAILED)
    ended_at = claim.ended_at or origin.at
    after = replace(_move(claim, ClaimState.FAILED), ended_at=ended_at, code=code, detail=detail)
    fact = _fact(access.AccessFailed, after, origin.because(detail), code=code, detail=detail)
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
        _move(claim, ClaimState.REVOKING) if asked else _next_version(claim),
        ended_at=ended_at,
        end_cause=cause,
    )
    late_by = max(origin.at - ended_at, timedelta(0))
    fact = _fact(access.AccessRevokeDue, due, origin, cause_of_end=cause, late_by=late_by)
    if asked:
        return Change(due, (fact,)).then(_fail_extensions(due, origin))
    refused = refuse(due, origin, code=cause, detail="it ended before anything was asked of AWS")
    return replace(refused, events=(fact, *refused.events))


def give_up(claim: Claim, origin: Origin, *, code: str, detail: str, request_id: str | None) -> Change[Claim]:
    """The creation (`request_id`) failed for good. The claim fails once AWS was read back without it."""
    after = replace(
        _move(claim, ClaimState.REVOKING),
        ended_at=origin.at,
        end_cause=EndCause.FAILED,
        code=code,
        detail=detail,
        request_id=request_id,
    )
    origin = origin.because(f"could not be granted: {detail}")
    fact = _fact(access.AccessRevokeDue, after, origin, cause_of_end=EndCause.FAILED)
    return Change(after, (fact,)).then(_fail_extensions(after, origin))


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
    ended_at = _end_of(claim)
    until = max(absent_first, ended_at) + claim.session_duration
    after = replace(_move(claim, ClaimState.REVOKED), code=claim.end_cause, credentials_until=until)
    fact = _fact(
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
    until = _end_of(claim) + claim.session_duration
    after = replace(
        _move(claim, ClaimState.RELEASED),
        code=claim.code or claim.end_cause,
        kept_by=kept_by,
        credentials_until=until,
    )
    fact = _fact(
        access.AccessReleased,
        after,
        origin.because("the assignment stays for another reason"),
        cause_of_end=claim.end_cause,
        kept_by=kept_by,
        credentials_until=until,
    )
    return Change(after, (fact,))


def mark_overdue(claim: Claim, origin: Origin, *, last_error: str) -> Change[Claim]:
    """The revoke is late beyond the objective; a fact once for each claim."""
    if claim.state is not ClaimState.REVOKING or claim.overdue_at is not None:
        return Change(claim)
    after = replace(_next_version(claim), overdue_at=origin.at)
    fact = _fact(
        access.AccessRevokeOverdue,
        after,
        origin.because("the revoke is retried for ever, and is late"),
        overdue_by=origin.at - _end_of(claim),
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
    fact = _fact(
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
    fact = _fact(
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
    return replace(_next_version(claim), extensions=tuple(others))


def _caused(origin: Origin, extension: ClaimExtension) -> Origin:
    return replace(origin, cause=origin.cause or extension.cause)


def _fail(claim: Claim, origin: Origin, *, gone_at: datetime, kept_by: tuple[str, ...] = ()) -> Change[Claim]:
    """Over without ever having been granted: failed, by what it ended with.

    Credentials are spoken of only where AWS showed the access, which was gone (or another's) at `gone_at`.
    """
    until = gone_at + claim.session_duration if claim.seen_at else None
    after = replace(
        _move(claim, ClaimState.FAILED),
        code=claim.code or claim.end_cause,
        kept_by=kept_by,
        detail=claim.detail or _why_never(claim, kept_by),
        credentials_until=until,
    )
    fact = _fact(
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


def _move(claim: Claim, to: ClaimState) -> Claim:
    if to not in TRANSITIONS[claim.state]:
        raise _impossible(claim, to)
    return replace(_next_version(claim), state=to)


def _next_version(claim: Claim) -> Claim:
    return replace(claim, version=claim.version + 1)


def _end_of(claim: Claim) -> datetime:
    if claim.ended_at is None:
        raise Bug(
            f"claim {claim.id} is {claim.state} but has no end; this is a bug", code="claim_without_end"
        )
    return claim.ended_at


def _impossible(claim: Claim, to: ClaimState) -> Bug:
    return Bug(
        f"claim {claim.id} cannot go from {claim.state} to {to}; this is a bug", code="claim_transition"
    )


def _fact(cls: type[access.AccessFact], claim: Claim, origin: Origin, **fields: Any) -> access.AccessFact:
    return cls(
        **(origin.fields() | {"cause": origin.cause or claim.cause}),
        subject=claim.ticket_id,
        version=claim.version,
        ticket_id=claim.ticket_id,
        grant_id=claim.id,
        target_id=claim.target_id,
        instance=claim.instance,
        user_id=claim.user_id,
        account_id=claim.account_id,
        set_id=claim.set_id,
        ends_at=claim.ends_at,
        **fields,
    )
