"""What to do next about one assignment, given its claims and what AWS was last read to hold.

Pure, and level-triggered: the answer depends on the assignment, the reading and the time, never on how it
came to that. reconcile/ carries the answers out: an operation that the answer begins is the call to be made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.provisioner.domain import closing, lifecycle
from services.provisioner.domain.assignments import Assignment, CallKind, Desired, Observed, Op, move
from services.provisioner.domain.claims import ASKED, NOT_OURS, Claim, ClaimState
from services.provisioner.domain.rechecks import NotYet, Passed, RecheckRefused, Verdict
from services.provisioner.domain.sentences import sentence_of
from services.provisioner.domain.timing import Timing
from shared.contracts.access import EndCause
from shared.contracts.change import Alert, Change, Origin


@dataclass(frozen=True, slots=True)
class Reading:
    """What AWS was read to hold in this visit."""

    found: bool
    also_through: tuple[str, ...] = ()
    """Ids of the user's groups that hold the same."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one decision is made with."""

    origin: Origin
    timing: Timing
    may_send: bool
    """Whether a slot is held: without one nothing is sent, and the assignment stays due."""
    waiting: Mapping[str, str]
    """Claims that could not begin, by id, and why."""

    @property
    def now(self) -> datetime:
        return self.origin.at


_SLOT: Final[dict[tuple[bool, Observed], CallKind]] = {
    **{
        (True, seen): "create"
        for seen in (Observed.UNKNOWN, Observed.DELETED, Observed.ABSENT, Observed.DOUBTFUL)
    },
    **{
        (False, seen): "delete"
        for seen in (Observed.UNKNOWN, Observed.PRESENT, Observed.CREATED, Observed.DOUBTFUL)
    },
}


def likely_call(*, wanted: bool, observed: Observed) -> CallKind | None:
    """Which call a visit may come to. It must hold a slot for it before it begins; None needs none."""
    return _SLOT.get((wanted, observed))


def needs_reading(assignment: Assignment, now: datetime) -> bool:
    """Whether AWS must be read for a decision; not where active claims simply keep what they have."""
    if assignment.in_state(ClaimState.GRANTING):
        return True
    if assignment.holding(now):
        return False
    ending = assignment.in_state(*ASKED, ClaimState.REVOKING)
    return bool(ending) or assignment.ever_operated


def start_claims(
    assignment: Assignment, verdicts: Mapping[str, Verdict], origin: Origin, *, may_begin: bool
) -> tuple[Change[Assignment], dict[str, str]]:
    """Begin or refuse the claims whose window has opened; the rest by id, and why they wait."""
    steps: list[Change[Claim]] = []
    waiting: dict[str, str] = {}
    for claim in assignment.starting(origin.at):
        verdict = verdicts[claim.id]
        if isinstance(verdict, RecheckRefused):
            steps.append(lifecycle.refuse(claim, origin, code=verdict.code, detail=verdict.detail))
        elif isinstance(verdict, NotYet):
            waiting[claim.id] = verdict.why
        elif isinstance(verdict, Passed) and may_begin:
            steps.append(lifecycle.begin(claim, origin))
        else:
            waiting[claim.id] = "it waits for its turn with AWS"
    return move(assignment, steps), waiting


def decide(assignment: Assignment, reading: Reading | None, step: Step) -> Change[Assignment]:
    """The next step for an assignment without an operation in flight.

    `reading` is None where none was needed. An operation in the answer is to be sent once it is saved.
    """
    over = [claim for claim in assignment.claims if claim.is_open and claim.ends_at <= step.now]
    ended = move(
        assignment,
        [
            lifecycle.end(claim, step.origin.because("its window is over"), cause=EndCause.EXPIRED)
            for claim in over
        ],
    )
    if reading is None:
        return ended.then(_keep(ended.state, step))
    if ended.state.holding(step.now):
        return ended.then(_towards_present(ended.state, reading, step))
    return ended.then(_towards_absent(ended.state, reading, step))


def wait(assignment: Assignment, waiting: Mapping[str, str], *, again: datetime) -> Assignment:
    """Come back `again` for the claims that have to wait, and remember why the first of them does."""
    if not waiting:
        return assignment
    why = assignment.last_error or next(iter(waiting.values()))
    return replace(assignment.due(again), last_error=why)


def _keep(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Nothing to ask AWS: what ended while others hold it is released."""
    held = bool(assignment.holding(step.now))
    # Whoever was not kept by another must be read for: the assignment stays due.
    unread = not held and assignment.in_state(ClaimState.REVOKING)
    after = replace(
        _turned(assignment, "present" if held else "absent"),
        next_at=step.now if unread else assignment.next_change(step.now, without=step.waiting),
    )
    return _release(after, step)


def _turned(assignment: Assignment, desired: Desired) -> Assignment:
    """Attempts to make it do not count against taking it away, nor the other way round."""
    attempt = assignment.attempt if assignment.desired == desired else 0
    return replace(assignment, desired=desired, attempt=attempt)


def _towards_present(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    seen = replace(
        _turned(assignment, "present"),
        verified_at=step.now,
        absent_seen=0,
        absent_first=None,
        closed_at=None,
    )
    released = _release(seen, step)
    return released.then(_make_present(released.state, reading, step))


def _make_present(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    doubtful = assignment.observed is Observed.DOUBTFUL
    if reading.found and not doubtful and not _just_deleted(assignment, step):
        return _grant(assignment, step)
    if assignment.observed is Observed.CREATED and _is_recent(assignment.settled_at, step):
        # Lists lag behind: a creation that succeeded is waited for, not repeated.
        return Change(replace(assignment, next_at=step.now + step.timing.poll_every))
    if assignment.attempt >= step.timing.attempts:
        return _give_up(assignment, step)
    if not doubtful:
        assignment = replace(assignment, observed=Observed.ABSENT)
    if not step.may_send:
        return Change(replace(assignment, next_at=step.now))
    return Change(_operating(assignment, "create", step.now))


def _just_deleted(assignment: Assignment, step: Step) -> bool:
    """Lists lag: what is listed after a deletion of ours may be what was deleted. Made again, and waited for.

    Creating what is there after all changes nothing; believing a list that is late would call access
    granted that is gone.
    """
    if assignment.observed is Observed.CREATED or assignment.deletion_ended is None:
        return False
    return assignment.observed is Observed.DELETED or _is_recent(assignment.deletion_ended, step)


def _grant(assignment: Assignment, step: Step) -> Change[Assignment]:
    """There, and seen. Not ours if there was never an operation of ours on it.

    Once there was one, what is there counts as ours and ends with its last claim, also where somebody else
    made it after our revoke: a creation of ours whose answer was lost looks just the same, and leaving that
    behind would be access without an end. It is granted without a request id then, since JIT knows none.
    """
    seen = replace(
        assignment,
        observed=Observed.PRESENT,
        attempt=0,
        last_code="",
        last_error="",
        pre_existing=not assignment.ever_operated,
        next_at=assignment.next_change(step.now, without=step.waiting),
    )
    request_id = None if seen.pre_existing else seen.request_id
    return move(
        seen,
        [
            lifecycle.grant(claim, step.origin, already_held=seen.pre_existing, request_id=request_id)
            for claim in seen.holding(step.now)
            if claim.state is ClaimState.GRANTING
        ],
    )


def _give_up(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Creation failed for good. Revoked all the same: a FAILED creation may be partial."""
    code = assignment.last_code or "not_visible"
    detail, request_id = sentence_of(code), assignment.request_id
    failed = move(
        assignment,
        [
            lifecycle.give_up(claim, step.origin, code=f"aws_{code}", detail=detail, request_id=request_id)
            for claim in assignment.holding(step.now)
        ],
    )
    return replace(failed, state=replace(_turned(failed.state, "absent"), next_at=step.now))


def _towards_absent(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    seen = replace(_turned(assignment, "absent"), verified_at=step.now)
    if reading.found and not seen.ever_operated:
        again = seen.next_change(step.now, without=step.waiting)
        return _release(replace(seen, observed=Observed.PRESENT, pre_existing=True, next_at=again), step)
    # Created, or half created, and not listed: there may be something to delete that nobody sees.
    if reading.found or seen.observed in {Observed.CREATED, Observed.DOUBTFUL}:
        return _delete(seen, reading, step)
    return _settle(seen, reading, step)


def _delete(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    undone = move(
        assignment,
        [
            closing.undo(claim, step.origin, seen=reading.found, request_id=assignment.request_id)
            for claim in assignment.claims
        ],
    )
    after = replace(undone.state, absent_seen=0, absent_first=None, closed_at=None)
    if reading.found and after.observed is not Observed.DOUBTFUL:
        after = replace(after, observed=Observed.PRESENT)
    alerts = () if assignment.closed_at is None else (_reappeared(assignment),)
    if not step.may_send:
        return Change(replace(after, next_at=step.now), alerts=alerts)
    return Change(_operating(after, "delete", step.now), alerts=alerts)


def _reappeared(assignment: Assignment) -> Alert:
    """It had been verified absent and is there again."""
    return Alert(
        key=f"reappeared/{assignment.id}",
        summary="an assignment that had been verified gone is there again, and is revoked again",
        detail=f"user {assignment.user_id}, account {assignment.account_id}, set {assignment.set_id}",
    )


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
    if seen.ever_operated and not long_enough:
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
        request_id=None,
        attempt=0,
        last_code="",
        last_error="",
    )
    again = _earliest(_next_relist(after, step), after.next_change(step.now, without=step.waiting))
    return replace(closed, state=replace(after, next_at=again))


def _release(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Every ended claim whose access is kept by another claim, or by not being ours."""
    keeping = tuple(claim.id for claim in assignment.holding(step.now))
    if assignment.pre_existing:
        keeping = (*keeping, NOT_OURS)
    if not keeping:
        return Change(assignment)
    return move(
        assignment,
        [
            closing.release(claim, step.origin, kept_by=keeping)
            for claim in assignment.in_state(ClaimState.REVOKING)
        ],
    )


def _operating(assignment: Assignment, kind: CallKind, now: datetime) -> Assignment:
    """Written ahead of the call, so that whatever happens the assignment is known to be ours.

    What an earlier request made is not what this creation makes.
    """
    if kind == "create":
        assignment = replace(assignment, request_id=None, deletion_id=None)
    doubtful = assignment.observed is Observed.DOUBTFUL and kind == "create"
    return replace(
        assignment,
        op=Op(kind, now),
        ever_operated=True,
        pre_existing=False,
        observed=Observed.DOUBTFUL if doubtful else Observed.UNKNOWN,
        next_at=now,
    )


def _next_relist(assignment: Assignment, step: Step) -> datetime | None:
    """A woken engine's late call is found by looking at what was closed recently, at growing intervals."""
    if assignment.closed_at is None or not assignment.ever_operated:
        return None
    looks = [assignment.closed_at + after for after in step.timing.relist_after]
    return min((look for look in looks if look > step.now), default=None)


def _is_recent(moment: datetime | None, step: Step) -> bool:
    return moment is not None and step.now - moment < step.timing.visible_within


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
