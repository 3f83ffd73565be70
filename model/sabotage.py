"""Faults put into the product on purpose, to show that the checker finds each.

A mutant is a name with a function that patches the product's modules when a process of the checker starts,
and the worlds in which it shows. Nothing else imports this.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from services.provisioner.domain import call_outcomes, decisions, granting, revoking
from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.claims import ClaimState
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.reconcile import looking, polling
from services.provisioner.reconcile.looking import Seen


@dataclass(frozen=True)
class Mutant:
    plant: Callable[[], None]
    worlds: tuple[str, ...] = ("two-claims",)
    known: tuple[str, ...] = ()
    """What the product itself does wrong in these worlds."""
    first: tuple[str, ...] = ()
    """Choices that are tried before others."""


def _put(module: Any, name: str, value: Any) -> None:
    """In the place of what is there; AttributeError where there is nothing of that name any more."""
    getattr(module, name)
    setattr(module, name, value)


def _drop_read_back() -> None:
    """What AWS accepted is taken for done, and AWS is not read again after the first look."""
    original = looking.look

    async def believing(parts: Any, row: Any, *, beginning: bool) -> Seen:
        if beginning or row.observed is Observed.UNKNOWN:
            return await original(parts, row, beginning=beginning)
        return Seen(row.observed in {Observed.CREATED, Observed.PRESENT}, None)

    def accepted(row: Any, request_id: str, now: Any, timing: Any) -> Any:  # noqa: ARG001 (as the original)
        return replace(call_outcomes.succeeded(row, now), request_id=request_id)

    _put(looking, "look", believing)
    _put(call_outcomes, "accepted", accepted)


def _drop_claim_count() -> None:
    """An assignment goes with whichever of its claims ends, whoever else has one."""
    decide, needs_reading = decisions.decide, decisions.needs_reading

    def alone(assignment: Any) -> Any:
        ending = assignment.in_state(ClaimState.REVOKING)
        return replace(assignment, claims=ending) if ending else assignment

    def decide_alone(assignment: Any, reading: Any, step: Any) -> Any:
        change = decide(alone(assignment), reading, step)
        ids = {claim.id for claim in change.state.claims}
        others = [claim for claim in assignment.claims if claim.id not in ids]
        return replace(change, state=replace(change.state, claims=(*change.state.claims, *others)))

    _put(decisions, "decide", decide_alone)
    _put(decisions, "needs_reading", lambda assignment, now: needs_reading(alone(assignment), now))


def _cut_settle_time() -> None:
    """One look is believed."""
    original = revoking._settle

    def at_once(assignment: Any, reading: Any, step: Any) -> Any:
        hasty = replace(step.timing, settle_checks=1, settle_time=timedelta(0))
        return original(assignment, reading, replace(step, timing=hasty))

    _put(revoking, "_settle", at_once)


def _forget_early() -> None:
    """An operation that nobody can follow is over at once, and its absence is believed."""
    original = call_outcomes.forgotten

    def early(row: Any, now: Any, timing: Any) -> Any:
        hasty = replace(timing, operation_longest=timedelta(0), listed_within=timedelta(0))
        forgotten = replace(original(row, now, hasty), observed=Observed.UNKNOWN)
        return replace(forgotten, absent_seen=9, absent_first=now - timedelta(minutes=5))

    _put(call_outcomes, "forgotten", early)


def _never_look_for_the_lost() -> None:
    """A request whose answer was lost is not looked for among those in progress."""

    async def nothing(parts: Any, *_: Any) -> Any:
        return polling._outcome(parts, None)

    _put(polling, "_find", nothing)


def _compare_clocks() -> None:
    """AWS's dates are compared with our clock: what seems older than the call is not ours."""
    original = polling._find

    async def guarded(parts: Any, flight: Any, listed: Any, ours: Any) -> Any:
        oldest = flight.op.started - timedelta(minutes=1)
        newer = {id_: one for id_, one in listed.requests.items() if one.created_at >= oldest}
        return await original(parts, flight, replace(listed, requests=newer), ours)

    _put(polling, "_find", guarded)


def _believe_any_instance() -> None:
    """Whatever is not found is gone, also where another instance was asked."""

    async def gone(*_args: Any, **_named: Any) -> bool:
        return True

    _put(IdentityCenter, "is_gone", gone)


def _keep_the_foreign_mark() -> None:
    """What was there before is nobody's for ever, also once it is ours."""
    original = granting._grant

    def marked(assignment: Any, step: Any) -> Any:
        return original(replace(assignment, ours=False), step)

    _put(granting, "_grant", marked)


MUTANTS: Final = {
    "read-back dropped": Mutant(_drop_read_back),
    "claim count dropped": Mutant(_drop_claim_count),
    "settle time cut": Mutant(_cut_settle_time, ("short-window",)),
    "forgotten operation settled early": Mutant(_forget_early, ("short-window",)),
    "lost request never looked for": Mutant(_never_look_for_the_lost, ("slow-creation",)),
    "clock guard off": Mutant(_compare_clocks, ("slow-creation",)),
    "instance not compared": Mutant(_believe_any_instance, first=("elsewhere:one",)),
    "foreign mark kept": Mutant(_keep_the_foreign_mark),
}
NOT_YET: Final = {
    "stop not remembered": "found in person-stopped without a mutant before they were remembered",
    "slot snapshot stale": "nobody has planted it yet; `slots_exceeded` in the world `crowd` would show it",
}
"""Of the rules that the checker should be shown to hold, those without a mutant."""
