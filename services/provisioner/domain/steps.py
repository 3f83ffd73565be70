"""What a decision about one assignment is made with, and the steps that both directions share. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.provisioner.domain import closing
from services.provisioner.domain.assignments import Assignment, CallKind, Desired, Observed, Op, move
from services.provisioner.domain.claims import NOT_OURS, ClaimState
from services.provisioner.domain.timing import Timing
from shared.contracts.change import Change, Origin


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
    """Whether a slot is held: without one nothing is sent, and the assignment keeps its place in line."""
    waiting: Mapping[str, str]
    """Claims that could not begin, by id, and why."""

    @property
    def now(self) -> datetime:
        return self.origin.at

    def is_recent(self, moment: datetime | None) -> bool:
        """Whether lists may not show yet what happened then; also where it may still be happening."""
        return moment is not None and self.now - moment < self.timing.visible_within


def turned(assignment: Assignment, desired: Desired) -> Assignment:
    """Attempts to make it do not count against taking it away, nor the other way round."""
    attempt = assignment.attempt if assignment.desired == desired else 0
    return replace(assignment, desired=desired, attempt=attempt)


def operating(assignment: Assignment, kind: CallKind, now: datetime) -> Assignment:
    """Written ahead of the call, so that whatever happens it is known that AWS may have been asked.

    What an earlier request made is not what this creation makes. What is in doubt stays so until AWS has
    taken the call.
    """
    if kind == "create":
        assignment = replace(assignment, request_id=None, deletion_id=None)
    doubted = {Observed.DOUBTFUL} if kind == "create" else {Observed.DOUBTFUL, Observed.CREATED}
    return replace(
        assignment,
        op=Op(kind, now),
        pre_existing=False,
        observed=assignment.observed if assignment.observed in doubted else Observed.UNKNOWN,
        next_at=now,
    )


def release(assignment: Assignment, step: Step) -> Change[Assignment]:
    """Every ended claim whose access is kept by another claim, or by not being ours.

    Only where it was just found, and those that hold it have been granted.
    """
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
