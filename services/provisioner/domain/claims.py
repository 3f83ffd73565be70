"""A claim's life: its states, the transitions between them, and the fact that each one is.

Pure. A claim is a grant's interest in an assignment; what happens to the assignment itself is decided in
assignments.py. Each transition returns the claim after it and what is to be said.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from shared.contracts import access
from shared.contracts.event import Actor
from shared.foundation.errors import Bug

SERVICE: Final = "provisioner"

NOT_OURS: Final = "not_ours"
"""In `kept_by`: the assignment was there before JIT and stays."""

FactT = TypeVar("FactT", bound=access.AccessFact)


class ClaimState(StrEnum):
    WAITING = "waiting"
    """Approved as ticket says, not yet as approval says: no witness."""
    SCHEDULED = "scheduled"
    GRANTING = "granting"
    ACTIVE = "active"
    REVOKING = "revoking"
    REVOKED = "revoked"
    RELEASED = "released"
    FAILED = "failed"


_S = ClaimState
TRANSITIONS: Final = {
    _S.WAITING: {_S.SCHEDULED, _S.FAILED},
    _S.SCHEDULED: {_S.GRANTING, _S.FAILED},
    _S.GRANTING: {_S.ACTIVE, _S.REVOKING},
    _S.ACTIVE: {_S.REVOKING},
    _S.REVOKING: {_S.REVOKED, _S.RELEASED, _S.FAILED},
    _S.REVOKED: set[ClaimState](),
    _S.RELEASED: set[ClaimState](),
    _S.FAILED: set[ClaimState](),
}
"""The only ways. Nothing leaves GRANTING but through AWS: to ACTIVE by read-back, or to REVOKING."""

OPEN: Final = frozenset({_S.WAITING, _S.SCHEDULED, _S.GRANTING, _S.ACTIVE})
"""Not ended yet; also spelt out in the statements and partial indexes of store and migrations."""
ASKED: Final = frozenset({_S.GRANTING, _S.ACTIVE})
"""AWS was asked, or is about to be: the deadline, the re-check and the fact are committed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. `version` counts the facts said about it."""

    id: str
    assignment_id: int
    instance: str
    ticket_id: str
    target_id: str
    revision: int
    user_id: str
    account_id: str
    set_id: str
    set_digest: str
    content_hash: str
    session_duration: timedelta
    starts_at: datetime
    ends_at: datetime
    state: ClaimState
    received_at: datetime
    parties: tuple[str, ...] = ()
    """User ids of the ticket's requester and beneficiaries."""
    duration_asked: timedelta = timedelta(0)
    """The length that approval rules were asked for."""
    approval_holds: bool = False
    """The votes were found to be enough by this service's own policy."""
    version: int = 0
    cause: str | None = None
    granted_at: datetime | None = None
    already_held: bool = False
    request_id: str | None = None
    ended_at: datetime | None = None
    end_cause: access.EndCause | None = None
    code: str | None = None
    detail: str = ""
    kept_by: tuple[str, ...] = ()
    overdue_at: datetime | None = None
    seen_at: datetime | None = None
    """When AWS first showed it after its end, though it was never granted."""
    credentials_until: datetime | None = None

    def in_window(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def holds(self, now: datetime) -> bool:
        """Whether this claim alone is reason enough for the assignment to be there now.

        One that has not passed its re-check is none, whatever its window says.
        """
        return self.state in ASKED and self.in_window(now)


@dataclass(frozen=True, slots=True)
class Stamp:
    """When, by whom and caused by what: what every fact carries."""

    at: datetime
    actor: Actor
    cause: str | None = None


Said = tuple[Claim, tuple[access.AccessFact, ...]]
"""A claim after a transition and the facts of it, in order."""


def schedule(claim: Claim, stamp: Stamp, *, approval_holds: bool) -> Said:
    """Both the ticket and the approval service say the same: stored with its end, nothing asked of AWS.

    Unless `approval_holds`, the votes are still to be weighed, before anything is.
    """
    after = replace(_move(claim, ClaimState.SCHEDULED), approval_holds=approval_holds)
    fact = _fact(access.AccessScheduled, after, stamp, "approved, and the witness agrees",
                 starts_at=claim.starts_at)  # fmt: skip
    return after, (fact,)


def begin(claim: Claim, stamp: Stamp) -> Said:
    """Re-checked, and about to be asked of AWS. Committed before the first call."""
    after = _move(claim, ClaimState.GRANTING)
    return after, (_fact(access.AccessGranting, after, stamp, "the window is open and the re-check passed"),)


def grant(claim: Claim, stamp: Stamp, *, already_held: bool, request_id: str | None) -> Said:
    """Read back from AWS: it is there."""
    until = claim.ends_at + claim.session_duration
    after = replace(
        _move(claim, ClaimState.ACTIVE),
        granted_at=stamp.at,
        already_held=already_held,
        request_id=request_id,
        credentials_until=until,
    )
    why = "found in AWS and not JIT's" if already_held else "read back from AWS"
    if request_id is None and not already_held:
        why = "found in AWS, by which request is not known; it ends with its last grant"
    fact = _fact(access.AccessGranted, after, stamp, why, request_id=request_id,
                 already_held=already_held, credentials_until=until)  # fmt: skip
    return after, (fact,)


def refuse(claim: Claim, stamp: Stamp, *, code: str, detail: str) -> Said:
    """Never asked of AWS and never will be."""
    if claim.state not in {ClaimState.WAITING, ClaimState.SCHEDULED}:
        raise _bug(claim, ClaimState.FAILED)
    after = replace(_move(claim, ClaimState.FAILED), ended_at=stamp.at, code=code, detail=detail)
    return after, (_fact(access.AccessFailed, after, stamp, detail, code=code, detail=detail),)


def end(claim: Claim, stamp: Stamp, *, cause: access.EndCause, why: str) -> Said:
    """The claim is over. What AWS was asked for is now to be revoked; what was not has simply failed.

    Idempotent: an ended claim stays as it is and nothing is said.
    """
    if claim.state not in OPEN:
        return claim, ()
    ended_at = claim.ends_at if cause == "expired" else stamp.at
    late_by = max(stamp.at - ended_at, timedelta(0))
    asked = claim.state in ASKED
    due = replace(
        _move(claim, ClaimState.REVOKING) if asked else _say(claim), ended_at=ended_at, end_cause=cause
    )
    fact = _fact(access.AccessRevokeDue, due, stamp, why, cause_of_end=cause, late_by=late_by)
    if asked:
        return due, (fact,)
    after, facts = refuse(due, stamp, code=cause, detail="it ended before anything was asked of AWS")
    return replace(after, ended_at=ended_at), (fact, *facts)


def give_up(claim: Claim, stamp: Stamp, *, code: str, detail: str, request_id: str | None) -> Said:
    """The creation (`request_id`) failed for good. The claim fails once AWS was read back without it."""
    after = replace(
        _move(claim, ClaimState.REVOKING), ended_at=stamp.at, end_cause=access.EndCause.FAILED,
        code=code, detail=detail, request_id=request_id,
    )  # fmt: skip
    fact = _fact(access.AccessRevokeDue, after, stamp, f"could not be granted: {detail}",
                 cause_of_end="failed")  # fmt: skip
    return after, (fact,)


def close_absent(
    claim: Claim,
    stamp: Stamp,
    *,
    absent_first: datetime,
    request_id: str | None,
    also_through: tuple[str, ...] = (),
) -> Said:
    """Read back without the assignment, often and long enough: revoked, or failed if never granted.

    `request_id` is the deletion's; one that failed names the creation instead. `also_through` are groups of
    the user that hold the same access, which is not JIT's to take away.
    """
    if claim.granted_at is None:
        return _fail(claim, stamp, gone_at=absent_first)
    ended_at = _ended(claim)
    until = max(absent_first, ended_at) + claim.session_duration
    after = replace(_move(claim, ClaimState.REVOKED), code=claim.end_cause, credentials_until=until)
    fact = _fact(
        access.AccessRevoked, after, stamp, "read back from AWS: it is gone", cause_of_end=claim.end_cause,
        request_id=request_id, late_by=max(absent_first - ended_at, timedelta(0)), credentials_until=until,
        also_through=also_through,
    )  # fmt: skip
    return after, (fact,)


def undo(claim: Claim, stamp: Stamp, *, seen: bool, request_id: str | None) -> Said:
    """What was never granted is about to be deleted: remember the creation, and whether AWS showed it.

    Nothing is said of it before it is over.
    """
    if claim.granted_at is not None or claim.state is not ClaimState.REVOKING:
        return claim, ()
    seen_at = claim.seen_at or (stamp.at if seen else None)
    return replace(claim, seen_at=seen_at, request_id=claim.request_id or request_id), ()


def release(claim: Claim, stamp: Stamp, *, kept_by: tuple[str, ...]) -> Said:
    """This claim is over, the access is not; `kept_by` says because of what. Failed if never granted."""
    if claim.granted_at is None:
        return _fail(claim, stamp, gone_at=stamp.at, kept_by=kept_by)
    until = _ended(claim) + claim.session_duration
    after = replace(_move(claim, ClaimState.RELEASED), code=claim.code or claim.end_cause, kept_by=kept_by,
                    credentials_until=until)  # fmt: skip
    fact = _fact(
        access.AccessReleased, after, stamp, "the assignment stays for another reason",
        cause_of_end=claim.end_cause, kept_by=kept_by, credentials_until=until,
    )  # fmt: skip
    return after, (fact,)


def _fail(claim: Claim, stamp: Stamp, *, gone_at: datetime, kept_by: tuple[str, ...] = ()) -> Said:
    """Over without ever having been granted: failed, by what it ended with.

    Credentials are spoken of only where AWS showed the access, which was gone (or another's) at `gone_at`.
    """
    until = gone_at + claim.session_duration if claim.seen_at else None
    after = replace(
        _move(claim, ClaimState.FAILED), code=claim.code or claim.end_cause, kept_by=kept_by,
        detail=claim.detail or _why_never(claim, kept_by), credentials_until=until,
    )  # fmt: skip
    fact = _fact(
        access.AccessFailed, after, stamp, after.detail, code=after.code, detail=after.detail,
        request_id=after.request_id, kept_by=kept_by, credentials_until=until,
    )  # fmt: skip
    return after, (fact,)


def _why_never(claim: Claim, kept_by: tuple[str, ...]) -> str:
    why = "it ended before AWS was seen to give it"
    if claim.seen_at is not None:
        why += "; AWS showed it for a short time after that"
    return f"{why}; the same access goes on for another reason" if kept_by else why


def call_overdue(claim: Claim, stamp: Stamp, *, last_error: str) -> Said:
    """The revoke is late beyond the objective; said once for each claim."""
    after = replace(_say(claim), overdue_at=stamp.at)
    fact = _fact(access.AccessRevokeOverdue, after, stamp, "the revoke is retried for ever, and is late",
                 overdue_by=stamp.at - _ended(claim), last_error=last_error)  # fmt: skip
    return after, (fact,)


def _move(claim: Claim, to: ClaimState) -> Claim:
    if to not in TRANSITIONS[claim.state]:
        raise _bug(claim, to)
    return replace(claim, state=to, version=claim.version + 1)


def _say(claim: Claim) -> Claim:
    return replace(claim, version=claim.version + 1)


def _ended(claim: Claim) -> datetime:
    if claim.ended_at is None:
        raise Bug(
            f"claim {claim.id} is {claim.state} but has no end; this is a bug", code="claim_without_end"
        )
    return claim.ended_at


def _bug(claim: Claim, to: ClaimState) -> Bug:
    return Bug(
        f"claim {claim.id} cannot go from {claim.state} to {to}; this is a bug", code="claim_transition"
    )


def _fact(cls: type[FactT], claim: Claim, stamp: Stamp, why: str, **fields: Any) -> FactT:
    return cls(
        subject=claim.ticket_id,
        version=claim.version,
        actor=stamp.actor,
        why=why,
        cause=stamp.cause or claim.cause,
        at=stamp.at,
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
