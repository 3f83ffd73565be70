"""What to do next about one assignment, given its claims and what AWS was last read to say.

Pure, and level-triggered: the answer depends on the row, the claims, the reading and the time, never on
how it came to that. reconcile/ carries the answers out; claims.py holds what is said about claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from services.provisioner.domain import claims as claim_life
from services.provisioner.domain.claims import NOT_OURS, Claim, ClaimState, Said, Stamp
from services.provisioner.domain.sentences import sentence_of
from shared.contracts.access import EndCause

OpKind = Literal["create", "delete"]
Desired = Literal["present", "absent"]


class Observed(StrEnum):
    """What is known about the assignment in AWS."""

    UNKNOWN = "unknown"
    CREATED = "created"
    """A creation SUCCEEDED; not yet seen."""
    DOUBTFUL = "doubtful"
    """A creation FAILED, which may be partial: being listed is no proof of working access."""
    PRESENT = "present"
    DELETED = "deleted"
    """A deletion SUCCEEDED, or there was nothing to delete; not yet seen gone."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of ours. Without a request id nobody knows whether AWS accepted it."""

    kind: OpKind
    started: datetime
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One row of the tuple (instance, user, account, set)."""

    id: int
    instance: str
    user_id: str
    account_id: str
    set_id: str
    set_arn: str | None = None
    desired: Desired = "absent"
    observed: Observed = Observed.UNKNOWN
    op: Op | None = None
    request_id: str | None = None
    """AWS's id of the creation that made what is there; None where nobody knows, or where it was not ours."""
    deletion_id: str | None = None
    """AWS's id of our newest deletion since that creation."""
    deletion_ended: datetime | None = None
    """When a deletion of ours may last have taken effect; None once a creation of ours succeeded after it."""
    settled_at: datetime | None = None
    absent_seen: int = 0
    absent_first: datetime | None = None
    attempt: int = 0
    next_at: datetime | None = None
    pre_existing: bool = False
    ever_operated: bool = False
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    last_code: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers decisions are made with; settings.py says what each means."""

    settle_checks: int = 3
    settle_time: timedelta = timedelta(seconds=20)
    visible_within: timedelta = timedelta(seconds=30)
    attempts: int = 5
    operation_patience: timedelta = timedelta(minutes=5)
    poll_every: timedelta = timedelta(seconds=1)
    back_off_first: timedelta = timedelta(seconds=1)
    back_off_longest: timedelta = timedelta(seconds=20)
    relist_after: tuple[timedelta, ...] = tuple(timedelta(minutes=m) for m in (1, 3, 7, 15))

    @property
    def between_checks(self) -> timedelta:
        return self.settle_time / max(1, self.settle_checks - 1)

    def back_off(self, attempt: int, jitter: float) -> timedelta:
        """Doubles with each attempt up to the longest; `jitter` in 0..1 takes off up to half of it."""
        longest: timedelta = min(self.back_off_first * 2 ** min(attempt, 10), self.back_off_longest)
        return longest * (1 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Decision:
    """The row as it is to be saved, what is said about its claims, and the call to be made after that."""

    row: Assignment
    said: tuple[Said, ...] = ()
    send: OpKind | None = None
    reappeared: bool = False
    """It had been verified absent and is there again; somebody must be told."""
    revoking_since: tuple[datetime, ...] = ()
    """When each claim that waits for the revoke ended."""


_SLOT: Final[dict[tuple[bool, Observed], OpKind]] = {
    **{
        (True, seen): "create"
        for seen in (Observed.UNKNOWN, Observed.DELETED, Observed.ABSENT, Observed.DOUBTFUL)
    },
    **{
        (False, seen): "delete"
        for seen in (Observed.UNKNOWN, Observed.PRESENT, Observed.CREATED, Observed.DOUBTFUL)
    },
}


def likely_call(*, wanted: bool, observed: Observed) -> OpKind | None:
    """Which call a visit may come to. It must hold a slot for it before it begins; None needs none."""
    return _SLOT.get((wanted, observed))


def starting(claims: Sequence[Claim], now: datetime) -> list[Claim]:
    """Claims whose window has opened: to be re-checked, then asked for."""
    return [claim for claim in claims if claim.state is ClaimState.SCHEDULED and claim.in_window(now)]


def needs_reading(row: Assignment, claims: Sequence[Claim], now: datetime) -> bool:
    """Whether AWS must be read for a decision; not where active claims simply keep what they have."""
    if any(claim.state is ClaimState.GRANTING for claim in claims):
        return True
    if any(claim.holds(now) for claim in claims):
        return False
    ending = any(claim.state in {*claim_life.ASKED, ClaimState.REVOKING} for claim in claims)
    return ending or row.ever_operated


def decide(
    row: Assignment,
    claims: Sequence[Claim],
    *,
    found: bool | None,
    may_send: bool,
    stamp: Stamp,
    limits: Limits,
    also_through: tuple[str, ...] = (),
) -> Decision:
    """The next step for an assignment without an operation in flight.

    `found` is the reading made in this visit, None where none was needed. Without `may_send` (no slot)
    nothing is sent: what was seen is kept and the assignment stays due. `also_through` are the groups of the
    user that the reading shows to hold the same.
    """
    lapsed = [claim for claim in claims if claim.state in claim_life.OPEN and claim.ends_at <= stamp.at]
    ended = tuple(
        claim_life.end(claim, stamp, cause=EndCause.EXPIRED, why="its window is over") for claim in lapsed
    )
    after = {claim.id: claim for claim, _ in ended}
    claims = [after.get(claim.id, claim) for claim in claims]
    if found is None:
        decision = _keep(row, claims, stamp)
    elif any(claim.holds(stamp.at) for claim in claims):
        decision = _towards_present(row, claims, found=found, may_send=may_send, stamp=stamp, limits=limits)
    else:
        decision = _towards_absent(
            row, claims, found=found, may_send=may_send, stamp=stamp, limits=limits, also_through=also_through
        )
    since = tuple(claim.ended_at for claim in claims if claim.state is ClaimState.REVOKING and claim.ended_at)
    return replace(decision, said=(*ended, *decision.said), revoking_since=since)


def _keep(row: Assignment, claims: Sequence[Claim], stamp: Stamp) -> Decision:
    """Nothing to ask AWS: what ended while others hold it is released."""
    held = any(claim.holds(stamp.at) for claim in claims)
    # Whoever was not kept by another must be read for: the assignment stays due.
    unread = not held and any(claim.state is ClaimState.REVOKING for claim in claims)
    row = replace(
        row,
        desired="present" if held else "absent",
        next_at=stamp.at if unread else next_change(claims, stamp.at),
    )
    return Decision(row, _released(row, claims, stamp))


def _towards_present(
    row: Assignment, claims: Sequence[Claim], *, found: bool, may_send: bool, stamp: Stamp, limits: Limits
) -> Decision:
    row = replace(row, desired="present", verified_at=stamp.at, absent_seen=0, absent_first=None,
                  closed_at=None)  # fmt: skip
    released = _released(row, claims, stamp)
    if found and row.observed is not Observed.DOUBTFUL and not _just_deleted(row, stamp.at, limits):
        return _granted(row, claims, released, stamp)
    if row.observed is Observed.CREATED and _is_recent(row.settled_at, stamp.at, limits.visible_within):
        # Lists lag behind: a creation that succeeded is waited for, not repeated.
        return Decision(replace(row, next_at=stamp.at + limits.poll_every), released)
    if row.attempt >= limits.attempts:
        return _give_up(row, claims, stamp)
    if row.observed is not Observed.DOUBTFUL:
        row = replace(row, observed=Observed.ABSENT)
    if not may_send:
        return Decision(replace(row, next_at=stamp.at), released)
    return Decision(_operating(row, "create", stamp), released, send="create")


def _just_deleted(row: Assignment, now: datetime, limits: Limits) -> bool:
    """Lists lag: what is listed after a deletion of ours may be what was deleted. Made again, and waited for.

    Creating what is there after all changes nothing; believing a list that is late would call access
    granted that is gone.
    """
    if row.observed is Observed.CREATED or row.deletion_ended is None:
        return False
    return row.observed is Observed.DELETED or _is_recent(row.deletion_ended, now, limits.visible_within)


def _granted(row: Assignment, claims: Sequence[Claim], released: tuple[Said, ...], stamp: Stamp) -> Decision:
    """There, and seen. Not ours if there was never an operation of ours on it.

    Once there was one, what is there counts as ours and ends with its last claim, also where somebody else
    made it after our revoke: a creation of ours whose answer was lost looks just the same, and leaving that
    behind would be access without an end. It is granted without a request id then, since JIT knows none.
    """
    row = replace(
        row, observed=Observed.PRESENT, attempt=0, last_code="", last_error="",
        pre_existing=not row.ever_operated, next_at=next_change(claims, stamp.at),
    )  # fmt: skip
    granted = tuple(
        claim_life.grant(
            claim,
            stamp,
            already_held=row.pre_existing,
            request_id=None if row.pre_existing else row.request_id,
        )
        for claim in claims
        if claim.state is ClaimState.GRANTING and claim.holds(stamp.at)
    )
    return Decision(row, (*released, *granted))


def _give_up(row: Assignment, claims: Sequence[Claim], stamp: Stamp) -> Decision:
    """Creation failed for good. Revoked all the same: a FAILED creation may be partial."""
    code = row.last_code or "not_visible"
    failed = tuple(
        claim_life.give_up(
            claim, stamp, code=f"aws_{code}", detail=sentence_of(code), request_id=row.request_id
        )
        for claim in claims
        if claim.holds(stamp.at)
    )
    row = replace(row, desired="absent", attempt=0, next_at=stamp.at)
    return Decision(row, failed)


def _towards_absent(
    row: Assignment,
    claims: Sequence[Claim],
    *,
    found: bool,
    may_send: bool,
    stamp: Stamp,
    limits: Limits,
    also_through: tuple[str, ...],
) -> Decision:
    row = replace(row, desired="absent", verified_at=stamp.at)
    if found and not row.ever_operated:
        row = replace(
            row, observed=Observed.PRESENT, pre_existing=True, next_at=next_change(claims, stamp.at)
        )
        return Decision(row, _released(row, claims, stamp))
    # Created, or half created, and not listed: there may be something to delete that nobody sees.
    if found or row.observed in {Observed.CREATED, Observed.DOUBTFUL}:
        undone = tuple(
            claim_life.undo(claim, stamp, seen=found, request_id=row.request_id) for claim in claims
        )
        return replace(_delete(row, found=found, may_send=may_send, stamp=stamp), said=undone)
    return _settle(row, claims, stamp=stamp, limits=limits, also_through=also_through)


def _delete(row: Assignment, *, found: bool, may_send: bool, stamp: Stamp) -> Decision:
    reappeared = row.closed_at is not None
    row = replace(row, absent_seen=0, absent_first=None, closed_at=None)
    if found and row.observed is not Observed.DOUBTFUL:
        row = replace(row, observed=Observed.PRESENT)
    if not may_send:
        return Decision(replace(row, next_at=stamp.at), reappeared=reappeared)
    return Decision(_operating(row, "delete", stamp), send="delete", reappeared=reappeared)


def _settle(
    row: Assignment,
    claims: Sequence[Claim],
    *,
    stamp: Stamp,
    limits: Limits,
    also_through: tuple[str, ...],
) -> Decision:
    """Not there. Believed when seen often and long enough, since lists lag; at once if never ours."""
    first = row.absent_first or stamp.at
    seen = row.absent_seen + 1
    row = replace(row, observed=Observed.ABSENT, pre_existing=False, absent_seen=seen, absent_first=first)
    long_enough = seen >= limits.settle_checks and stamp.at - first >= limits.settle_time
    if row.ever_operated and not long_enough:
        return Decision(replace(row, next_at=stamp.at + limits.between_checks))
    closed = tuple(
        claim_life.close_absent(
            claim, stamp, absent_first=first, request_id=row.deletion_id, also_through=also_through
        )
        for claim in claims
        if claim.state is ClaimState.REVOKING
    )
    row = replace(row, closed_at=row.closed_at or stamp.at, request_id=None, attempt=0, last_code="",
                  last_error="")  # fmt: skip
    row = replace(row, next_at=_earliest(_next_relist(row, stamp.at, limits), next_change(claims, stamp.at)))
    return Decision(row, closed)


def claim_ended(row: Assignment, *, still_held: bool, now: datetime) -> Assignment:
    """A claim ended: due at once, and absence has to be seen anew."""
    return replace(row, desired="present" if still_held else "absent", next_at=now, absent_seen=0,
                   absent_first=None, attempt=0, closed_at=None)  # fmt: skip


def next_change(claims: Sequence[Claim], now: datetime) -> datetime | None:
    """When time alone changes what is wanted: the next start (one that has passed is due now), or end.

    The expiry producer is at an end first; this is for the case that no producer runs.
    """
    starts = [max(claim.starts_at, now) for claim in claims if claim.state is ClaimState.SCHEDULED]
    ends = [claim.ends_at for claim in claims if claim.state in claim_life.ASKED]
    return min([*starts, *ends], default=None)


def _released(row: Assignment, claims: Sequence[Claim], stamp: Stamp) -> tuple[Said, ...]:
    """Every ended claim whose access is kept by another claim, or by not being ours."""
    keeping = tuple(claim.id for claim in claims if claim.holds(stamp.at))
    if row.pre_existing:
        keeping = (*keeping, NOT_OURS)
    if not keeping:
        return ()
    return tuple(
        claim_life.release(claim, stamp, kept_by=keeping)
        for claim in claims
        if claim.state is ClaimState.REVOKING
    )


def _operating(row: Assignment, kind: OpKind, stamp: Stamp) -> Assignment:
    """Written ahead of the call, so that whatever happens the assignment is known to be ours.

    What an earlier request made is not what this creation makes.
    """
    if kind == "create":
        row = replace(row, request_id=None, deletion_id=None)
    observed = (
        Observed.DOUBTFUL if row.observed is Observed.DOUBTFUL and kind == "create" else Observed.UNKNOWN
    )
    return replace(row, op=Op(kind, stamp.at), ever_operated=True, pre_existing=False, observed=observed,
                   next_at=stamp.at)  # fmt: skip


def _next_relist(row: Assignment, now: datetime, limits: Limits) -> datetime | None:
    """A woken engine's late call is found by looking at what was closed recently, at growing intervals."""
    if row.closed_at is None or not row.ever_operated:
        return None
    closed_at = row.closed_at
    return min((closed_at + after for after in limits.relist_after if closed_at + after > now), default=None)


def _is_recent(moment: datetime | None, now: datetime, within: timedelta) -> bool:
    return moment is not None and now - moment < within


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
