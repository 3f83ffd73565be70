"""What becomes of our calls: accepted, lost, refused, succeeded, failed, forgotten.

Pure. Each takes the assignment with its operation and returns the row as it is to be saved. Nothing
here says what is true in AWS: every way ends in a reading, decided on in decisions.py.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.provisioner.domain.assignments import Assignment, Observed, Op
from services.provisioner.domain.timing import Timing


def accepted(row: Assignment, request_id: str, now: datetime, timing: Timing) -> Assignment:
    """AWS took the call. That proves nothing; the request id says what to ask after."""
    op = row.op or Op("create", now)
    row = replace(
        row, op=replace(op, request_id=request_id), ours=True, put_off=0, next_at=now + timing.poll_every
    )
    if op.kind == "create":
        return replace(row, request_id=request_id)
    return replace(row, request_id=None, deletion_id=request_id)


def not_sent(row: Assignment, now: datetime) -> Assignment:
    """AWS has not been asked: nobody wants the creation any more, or too little lease was left to send it."""
    return replace(row, op=None, next_at=now)


def lost(row: Assignment, error: str, now: datetime, timing: Timing) -> Assignment:
    """The call broke off: AWS may have taken it. The operation stays open until it is looked for."""
    return replace(row, ours=True, last_error=error, next_at=now + timing.poll_every)


_FINAL: Final = frozenset({"not_found", "denied", "quota", "invalid", "kms"})
"""No for a creation, however often it is asked; a deletion is asked again for ever."""
_SOFT: Final = frozenset({"throttled", "slots_full", "conflict"})
"""Not now: no attempt is used up."""


def refused(
    row: Assignment, code: str, error: str, *, now: datetime, jitter: float, timing: Timing
) -> Assignment:
    """AWS did not take the call: `code` is the driver's word for why. It makes nothing ours that was not."""
    kind = row.op.kind if row.op else "delete"
    row = replace(row, op=None, settled_at=now, last_code=code, last_error=error)
    if kind == "delete":
        return _delete_refused(row, code, now=now, jitter=jitter, timing=timing)
    row = replace(row, observed=Observed.DOUBTFUL if row.observed is Observed.DOUBTFUL else Observed.ABSENT)
    if code in _FINAL:
        return replace(row, attempt=timing.attempts, next_at=now)
    if code in _SOFT:
        put_off = row.put_off + 1
        return replace(row, put_off=put_off, next_at=now + timing.back_off(put_off, jitter))
    attempt = row.attempt + 1
    return replace(row, attempt=attempt, next_at=now + timing.back_off(attempt, jitter))


def _delete_refused(
    row: Assignment, code: str, *, now: datetime, jitter: float, timing: Timing
) -> Assignment:
    # Nothing to delete, says AWS; believed after reading back, and where nothing may come true behind it.
    # Not at once: a list that is late would be asked, and this be sent again, as fast as AWS answers.
    if code == "not_found" and not row.may_come_true(now):
        return replace(_deleted(row, now), observed=Observed.DELETED, next_at=now + timing.poll_every)
    attempt = row.attempt + 1
    return replace(row, attempt=attempt, next_at=now + timing.back_off(attempt, jitter))


def succeeded(row: Assignment, now: datetime) -> Assignment:
    """AWS says the operation is done; read back next.

    Nothing of ours that was lost before it can come true behind it: AWS takes one operation at a time.
    """
    created = _creating(row)
    return replace(
        replace(row, deletion_ended=None) if created else _deleted(row, now),
        creating_until=None,
        op=None,
        observed=Observed.CREATED if created else Observed.DELETED,
        settled_at=now,
        absent_seen=0,
        absent_first=None,
        next_at=now,
        last_code="",
        last_error="",
    )


def failed(row: Assignment, reason: str, *, now: datetime, jitter: float, timing: Timing) -> Assignment:
    """AWS says the operation FAILED; what it left behind is for the next reading."""
    created = _creating(row)
    attempt = row.attempt + 1
    return replace(
        row if created else _deleted(row, now),
        op=None,
        observed=Observed.DOUBTFUL if created or row.may_come_true(now) else Observed.UNKNOWN,
        settled_at=now,
        attempt=attempt,
        last_code="failed",
        last_error=reason,
        next_at=now + timing.back_off(attempt, jitter),
    )


def forgotten(row: Assignment, now: datetime, timing: Timing) -> Assignment:
    """Nobody knows of the operation; `row` as it is while AWS's records may only be late.

    After that it is acted anew, which is harmless. What it made is no proof of working access, and until the
    longest operation is over its absence is none of the opposite.
    """
    if row.op is None or timedelta(0) <= now - row.op.started < timing.listed_within:
        return row
    created, over = _creating(row), min(row.op.started, now) + timing.operation_longest
    row = replace(row, op=None, ours=True, settled_at=now, next_at=now)
    if created:
        return replace(row, creating_until=over, observed=Observed.DOUBTFUL)
    observed = Observed.DOUBTFUL if row.may_come_true(now) else Observed.UNKNOWN
    return replace(_deleted(row, over), observed=observed)


def unreadable(row: Assignment, error: str, *, now: datetime, jitter: float, timing: Timing) -> Assignment:
    """AWS could not be read; nothing is concluded, and it is read again soon."""
    return replace(row, last_error=error, next_at=now + timing.back_off(2, jitter))


def _creating(row: Assignment) -> bool:
    return row.op is not None and row.op.kind == "create"


def _deleted(row: Assignment, at: datetime) -> Assignment:
    """A deletion that AWS may carry out, whole or in part, ends by then: lists may be late from there on."""
    return replace(row, request_id=None, deletion_ended=at)
