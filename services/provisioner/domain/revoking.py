"""Towards absent: no claim wants the assignment, and AWS was read.

Pure; the rules are in docs/assignment-rules.md.
"""

from dataclasses import replace
from datetime import datetime

from services.provisioner.domain import closing
from services.provisioner.domain.assignments import Assignment, Observed, move
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.steps import Reading, Step, operating, release, turned
from shared.contracts.change import Alert, Change


def towards_absent(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    seen = replace(turned(assignment, "absent"), verified_at=step.now)
    if reading.found and not seen.ours:
        again = seen.next_change(step.now, without=step.waiting)
        return release(replace(seen, observed=Observed.PRESENT, pre_existing=True, next_at=again), step)
    # Created, or half created, and not listed: there may be something to delete that nobody sees.
    unseen = seen.observed in {Observed.CREATED, Observed.DOUBTFUL} or seen.may_come_true(step.now)
    if reading.found or unseen:
        return _delete(seen, reading, step)
    return _settle(seen, reading, step)


def still_there(assignment: Assignment) -> str:
    """The key of the alert that stands until what reappeared is gone again."""
    return f"reappeared/{assignment.id}/still"


def _delete(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    undone = move(
        assignment,
        [
            closing.undo(claim, step.origin, seen=reading.found, request_id=assignment.request_id)
            for claim in assignment.claims
        ],
    )
    after = replace(
        undone.state,
        observed=_before_deletion(assignment, reading, step.now),
        absent_seen=0,
        absent_first=None,
        reappeared=assignment.reappeared or (reading.found and assignment.closed_at is not None),
        closed_at=None,
    )
    alerts = _alerts(assignment, after)
    if not step.may_send:
        return Change(after.due(step.now), alerts=alerts)
    return Change(operating(after, "delete", step.now), alerts=alerts)


def _before_deletion(assignment: Assignment, reading: Reading, now: datetime) -> Observed:
    if assignment.observed is Observed.DOUBTFUL or assignment.may_come_true(now):
        return Observed.DOUBTFUL
    return Observed.PRESENT if reading.found else assignment.observed


def _alerts(before: Assignment, after: Assignment) -> tuple[Alert, ...]:
    """It had been verified gone and is there again: told at once, and while deletions come to nothing."""
    where = f"user {after.user_id}, account {after.account_id}, set {after.set_id}"
    if after.reappeared and not before.reappeared:
        summary = "an assignment that had been verified gone is there again, and is revoked again"
        return (Alert(f"reappeared/{after.id}", summary, where),)
    if after.reappeared and (before.attempt or before.observed is Observed.DELETED):
        summary = "an assignment that had been verified gone, and was there again, is not gone yet"
        detail = f"{where}; AWS said at last: {before.last_error or 'that it is deleted'}"
        return (Alert(still_there(after), summary, detail, once=False),)
    return ()


def _settle(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    """Not there. Believed when seen often and long enough, since lists lag; at once if never ours."""
    first = assignment.absent_first or step.now
    seen = replace(
        assignment,
        observed=Observed.ABSENT,
        pre_existing=False,
        absent_seen=assignment.absent_seen + 1,
        absent_first=first,
    )
    timing = step.timing
    long_enough = seen.absent_seen >= timing.settle_checks and step.now - first >= timing.settle_time
    if seen.ours and not long_enough:
        return Change(replace(seen, next_at=step.now + timing.between_checks))
    return _close(seen, first, reading, step)


def _close(
    assignment: Assignment, absent_first: datetime, reading: Reading, step: Step
) -> Change[Assignment]:
    closed = move(
        assignment,
        [
            closing.close_absent(
                claim,
                step.origin,
                absent_first=absent_first,
                request_id=assignment.deletion_id,
                also_through=reading.also_through,
            )
            for claim in assignment.in_state(ClaimState.REVOKING)
        ],
    )
    after = replace(
        closed.state,
        closed_at=assignment.closed_at or step.now,
        creating_until=None,
        request_id=None,
        reappeared=False,
        attempt=0,
        put_off=0,
        last_code="",
        last_error="",
    )
    after = replace(after, ours=after.ours and not _is_explained_no_more(after, step))
    again = _earliest(_next_relist(after, step), after.next_change(step.now, without=step.waiting))
    return replace(closed, state=replace(after, next_at=again))


def _is_explained_no_more(assignment: Assignment, step: Step) -> bool:
    """This reading is the last look at what was closed: what appears from now on is not JIT's."""
    closed_at, looks = assignment.closed_at, step.timing.relist_after
    return closed_at is not None and bool(looks) and step.now >= closed_at + max(looks)


def _next_relist(assignment: Assignment, step: Step) -> datetime | None:
    """A woken engine's late call is found by looking at what was closed recently, at growing intervals."""
    if assignment.closed_at is None or not assignment.ours:
        return None
    looks = [assignment.closed_at + after for after in step.timing.relist_after]
    return min((look for look in looks if look > step.now), default=None)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
