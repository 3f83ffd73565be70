"""Claims, assignments and decisions about them, for tests of the provisioner's domain."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from services.provisioner.domain.assignments import Assignment, CallKind
from services.provisioner.domain.claims import Claim, ClaimExtension, ClaimState
from services.provisioner.domain.decisions import decide
from services.provisioner.domain.steps import Reading, Step
from services.provisioner.domain.timing import Timing
from shared.contracts.access import AccessFact, EndCause
from shared.contracts.change import Alert, Change, Origin
from shared.contracts.event import Actor
from tests.support.harness import NOW

S = timedelta(seconds=1)
TIMING = Timing()
ORIGIN = Origin(Actor.service("provisioner"), NOW)
StateT = TypeVar("StateT")


def claim(state: ClaimState = ClaimState.ACTIVE, **changes: Any) -> Claim:
    """Ann's, within its window; one that is revoking was terminated a second ago."""
    ended = state is ClaimState.REVOKING
    made = Claim(
        id="grant-1",
        assignment_id=1,
        instance="default",
        ticket_id="ticket",
        target_id="target",
        revision=1,
        subject_id="subject",
        user_id="user-ann",
        account_id="111111111111",
        set_id="ps-1",
        set_digest="digest",
        content_hash="hash",
        session_duration=timedelta(hours=1),
        starts_at=NOW - 60 * S,
        ends_at=NOW + 60 * S,
        state=state,
        received_at=NOW - 90 * S,
        version=7,
        ended_at=NOW - S if ended else None,
        end_cause=EndCause.TERMINATED if ended else None,
        granted_at=NOW - 50 * S if ended or state is ClaimState.ACTIVE else None,
    )
    return replace(made, **changes)


def extension(**changes: Any) -> ClaimExtension:
    """Of ann's claim, by another minute."""
    made = ClaimExtension(
        subject_id="extension-1",
        grant_id="grant-1",
        ticket_id="ticket",
        target_id="target",
        revision=1,
        instance="default",
        user_id="user-ann",
        account_id="111111111111",
        set_id="ps-1",
        ended_before=NOW + 60 * S,
        starts_at=NOW - 60 * S,
        ends_at=NOW + 120 * S,
        content_hash="hash of the extension",
        requester="user-bob",
        received_at=NOW,
    )
    return replace(made, **changes)


def row(*claims: Claim, **changes: Any) -> Assignment:
    made = Assignment(
        id=1,
        instance="default",
        user_id="user-ann",
        account_id="111111111111",
        set_id="ps-1",
        set_arn="arn",
        next_at=NOW,
        claims=claims,
    )
    return replace(made, **changes)


@dataclass(frozen=True)
class Decided:
    """A decision taken apart."""

    row: Assignment
    send: CallKind | None
    facts: tuple[AccessFact, ...]
    alerts: tuple[Alert, ...]

    @property
    def names(self) -> list[str]:
        """The facts in short."""
        return [fact.TYPE.split(".")[1] for fact in self.facts]

    @property
    def moved(self) -> list[tuple[Claim, list[AccessFact]]]:
        """The claims that have facts, as they are after them."""
        about = [(one, [fact for fact in self.facts if fact.grant_id == one.id]) for one in self.row.claims]
        return [(one, facts) for one, facts in about if facts]


def decided(
    before: Assignment, *claims: Claim, found: bool | None, may_send: bool = True, at: timedelta = 0 * S
) -> Decided:
    """What is decided for an assignment with these claims, `at` so long after NOW."""
    reading = None if found is None else Reading(found)
    step = Step(replace(ORIGIN, at=NOW + at), TIMING, may_send, {})
    change = decide(replace(before, claims=claims), reading, step)
    send = change.state.op.kind if change.state.op else None
    facts = tuple(fact for fact in change.events if isinstance(fact, AccessFact))
    return Decided(change.state, send, facts, change.alerts)


def parts(change: Change[StateT]) -> tuple[StateT, list[Any]]:
    """The state after a step, and its facts."""
    return change.state, list(change.events)
