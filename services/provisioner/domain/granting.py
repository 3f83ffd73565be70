"""Towards present: a claim wants the assignment, and AWS was read.

Pure; the rules are in docs/assignment-rules.md.
"""

from dataclasses import replace

from services.provisioner.domain import lifecycle
from services.provisioner.domain.assignments import Assignment, Observed, move
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.sentences import sentence_of
from services.provisioner.domain.steps import Reading, Step, operating, release, turned
from shared.contracts.change import Change

NOT_VISIBLE = "not_visible"


def towards_present(assignment: Assignment, reading: Reading, step: Step) -> Change[Assignment]:
    seen = replace(
        turned(assignment, "present"),
        verified_at=step.now,
        absent_seen=0,
        absent_first=None,
        closed_at=None,
    )
    doubtful = seen.observed is Observed.DOUBTFUL
    if reading.found and not doubtful and not _just_deleted(seen, step):
        return _grant(seen, step)
    if seen.observed is Observed.CREATED:
        if step.is_recent(seen.settled_at):
            # Lists lag behind: a creation that succeeded is waited for, not repeated.
            return Change(replace(seen, next_at=step.now + step.timing.poll_every))
        seen = replace(seen, attempt=seen.attempt + 1, last_code=NOT_VISIBLE)
    if seen.attempt >= step.timing.attempts:
        return _give_up(seen, step)
    seen = seen if doubtful else replace(seen, observed=Observed.ABSENT)
    if not step.may_send:
        return Change(seen.due(step.now))
    return Change(operating(seen, "create", step.now))


def _just_deleted(assignment: Assignment, step: Step) -> bool:
    """Lists lag: what is listed after a deletion of ours may be what was deleted. Made again, and waited for.

    Creating what is there after all changes nothing; believing a list that is late would call access
    granted that is gone.
    """
    if assignment.observed is Observed.CREATED or assignment.deletion_ended is None:
        return False
    return assignment.observed is Observed.DELETED or step.is_recent(assignment.deletion_ended)


def _grant(assignment: Assignment, step: Step) -> Change[Assignment]:
    """There, and seen. Not ours where no operation of ours explains it: it stays when its last claim ends.

    What an operation of ours may have made ends with its last claim, also where somebody else made it: the
    two look just the same, and leaving ours behind would be access without an end. It is granted without a
    request id where JIT knows none.
    """
    seen = replace(
        assignment,
        observed=Observed.PRESENT,
        attempt=0,
        last_code="",
        last_error="",
        pre_existing=not assignment.ours,
        reappeared=False,
        next_at=assignment.next_change(step.now, without=step.waiting),
    )
    request_id = None if seen.pre_existing else seen.request_id
    granted = move(
        seen,
        [
            lifecycle.grant(claim, step.origin, already_held=seen.pre_existing, request_id=request_id)
            for claim in seen.holding(step.now)
            if claim.state is ClaimState.GRANTING
        ],
    )
    return granted.then(release(granted.state, step))


def _give_up(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Creation failed for good. Revoked all the same: a FAILED creation may be partial."""
    code = assignment.last_code or NOT_VISIBLE
    detail, request_id = sentence_of(code), assignment.request_id
    failed = move(
        assignment,
        [
            lifecycle.give_up(claim, step.origin, code=f"aws_{code}", detail=detail, request_id=request_id)
            for claim in assignment.holding(step.now)
        ],
    )
    return replace(failed, state=replace(turned(failed.state, "absent"), next_at=step.now))
