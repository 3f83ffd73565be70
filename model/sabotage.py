"""Faults put into the product on purpose, to show that the checker finds each.

A mutant is a name with a function that patches the product's modules when a process of the checker starts,
and the worlds in which it shows. bench/sabotage.py has one of them, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from services.provisioner.domain import call_outcomes, decisions, granting, revoking
from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.claims import ClaimState
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import Instance
from services.provisioner.limits import Slots
from services.provisioner.reconcile import looking, polling
from services.provisioner.reconcile.looking import Seen
from services.provisioner.store import schedule, stops


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


def drop_read_back() -> None:
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

    def call_alone(self: schedule.Due) -> Any:
        return decisions.likely_call(wanted=self.wanted and not self.revoking, observed=self.observed)

    _put(decisions, "decide", decide_alone)
    _put(schedule.Due, "call", property(call_alone))
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
    """Sets are asked for whichever instance we speak for: of another's, AWS says that there is none."""

    async def any_instance(self: IdentityCenter, _set_arn: str) -> Instance:
        return await self.instance()

    _put(IdentityCenter, "_instance_of", any_instance)


def _keep_the_foreign_mark() -> None:
    """What was there before is nobody's for ever, also once it is ours."""
    original = granting._grant

    def marked(assignment: Any, step: Any) -> Any:
        return original(replace(assignment, ours=False), step)

    _put(granting, "_grant", marked)


def _forget_stops() -> None:
    """A stop ends what is there, and nothing that comes later."""

    async def none(*_args: Any, **_named: Any) -> None:
        return None

    _put(stops, "find", none)


def _believe_the_snapshot() -> None:
    """The slots are what was read of the database, whatever was taken or let go since."""
    original = Slots.correct

    def believing(self: Any, in_flight: Any, **as_before: Any) -> None:
        self._taken = dict(in_flight)
        original(self, in_flight, **as_before)

    _put(Slots, "correct", believing)


MUTANTS: Final = {
    "read-back dropped": Mutant(drop_read_back),
    "claim count dropped": Mutant(_drop_claim_count, known=("spins",)),
    "settle time cut": Mutant(_cut_settle_time, ("given-again",)),
    "forgotten operation settled early": Mutant(_forget_early, ("short-window",)),
    "lost request never looked for": Mutant(_never_look_for_the_lost, ("slow-creation",)),
    "clock guard off": Mutant(_compare_clocks, ("slow-creation",)),
    "instance not compared": Mutant(_believe_any_instance, first=("elsewhere:one",)),
    "foreign mark kept": Mutant(_keep_the_foreign_mark),
    "stop not remembered": Mutant(_forget_stops, ("person-stopped",)),
    "slot snapshot stale": Mutant(_believe_the_snapshot, ("crowd",), first=("hold:1",)),
}
"""One for each rule that the checker must be shown to hold; docs/model.md has what each breaks."""
