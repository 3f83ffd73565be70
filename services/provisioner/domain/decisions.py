"""What to do next about one assignment, given its claims and what AWS was last read to hold.

Pure, and level-triggered: the answer depends on the assignment, the reading and the time, never on how it
came to that. The rules are in docs/assignment-rules.md; granting.py and revoking.py are its two directions.
reconcile/ carries the answers out: an operation that the answer begins is the call to be made.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.provisioner.domain import lifecycle
from services.provisioner.domain.assignments import Assignment, CallKind, Observed, move
from services.provisioner.domain.claims import ASKED, Claim, ClaimState
from services.provisioner.domain.granting import towards_present
from services.provisioner.domain.rechecks import NotYet, Passed, RecheckRefused, Verdict
from services.provisioner.domain.revoking import towards_absent
from services.provisioner.domain.steps import Reading, Step, turned
from services.provisioner.domain.timing import Timing
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin

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
    if assignment.in_state(ClaimState.GRANTING, ClaimState.REVOKING):
        return True
    if assignment.holding(now):
        return False
    return bool(assignment.in_state(*ASKED)) or assignment.ours


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
    assignment = assignment.not_ahead_of(step.now, step.timing)
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
        return ended.then(towards_present(ended.state, reading, step))
    return ended.then(towards_absent(ended.state, reading, step))


def look_again_after(assignment: Assignment, timing: Timing, *, asked: bool, held: bool) -> timedelta:
    """For claims that could not begin; `asked` is whether AWS was, for what the re-check needs.

    A hold lasts longer than a policy is away. At once if only a slot is missing: it is given in turn. Where
    none is needed, a creation is not listed yet: it is looked for as often as for those who wait for it.
    """
    if held:
        return timing.hold_retry
    if not asked:
        return timing.policy_retry
    needs_slot = likely_call(wanted=True, observed=assignment.observed) is not None
    return timedelta(0) if needs_slot else timing.poll_every


def wait(assignment: Assignment, waiting: Mapping[str, str], *, again: datetime) -> Assignment:
    """Come back `again` for the claims that have to wait, and remember why the first of them does."""
    if not waiting:
        return assignment
    why = assignment.last_error or next(iter(waiting.values()))
    return replace(assignment.due(again), last_error=why)


def _keep(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Nothing was asked of AWS: what ended in this step is due, for it takes a reading to be over."""
    held = bool(assignment.holding(step.now))
    unread = bool(assignment.in_state(ClaimState.REVOKING))
    next_at = step.now if unread else assignment.next_change(step.now, without=step.waiting)
    return Change(replace(turned(assignment, "present" if held else "absent"), next_at=next_at))
