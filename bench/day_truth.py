"""The truth at AWS, as the simulator recorded it, against what people were permitted.

Pure: a presence is an interval in which a user had an assignment; a window what an approval opened. Used by
bench/day_judge.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.day_people import Allowed, Key, Outcome
from bench.fleet import Down

LATE_S = 15.0
"""What is conceded after an end, with the provisioner up."""
STOP_LATE_S = 30.0
"""After a stop, with everything up: it travels, and clients need seconds to find a bounced broker again."""
EARLY_S = 0.5
"""Clocks are one machine's; this is for the rounding of times in facts."""

Wrong = Callable[[float, float], float]
"""By how many seconds at most the provisioner's clock was wrong between two moments."""


def never_wrong(_since: float, _until: float) -> float:
    return 0.0


@dataclass(frozen=True)
class Presence:
    """An assignment was there, in truth. `until` is infinite while it still is."""

    key: Key
    since: float
    until: float


@dataclass
class Verdict:
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    latencies_s: dict[str, dict[str, float]] = field(default_factory=dict)

    def complain(self, rule: str, sentence: str) -> None:
        self.violations.append(f"{rule}: {sentence}")


def presences_of(history: Sequence[dict[str, Any]]) -> list[Presence]:
    """Intervals of users' assignments out of the record of appearances; standing ones left out."""
    begun: dict[Key, float] = {}
    done: list[Presence] = []
    for row in history:
        if row["cause"] == "standing" or row["principal_type"] != "USER":
            continue
        key = (row["principal"], row["account"], row["permission_set"])
        if row["event"] == "appeared":
            begun.setdefault(key, row["time"])
        elif key in begun:
            done.append(Presence(key, begun.pop(key), row["time"]))
    return done + [Presence(key, since, float("inf")) for key, since in begun.items()]


def judge_truth(
    verdict: Verdict,
    outcome: Outcome,
    presences: Iterable[Presence],
    downs: Sequence[Down],
    *,
    stopping: Sequence[Down],
    wrong: Wrong = never_wrong,
) -> None:
    """No access without an approved ticket, none before its start, none long after its end."""
    for presence in presences:
        allowed = outcome.allowed.get(presence.key, [])
        if not allowed:
            verdict.complain("no ticket", f"{presence.key} at {presence.since:.1f} without approval")
            continue
        slack = wrong(presence.since, presence.until)
        covers = [
            (
                one.since - EARLY_S - slack,
                _conceded(one, outcome.stopped_at.get(one.ticket), downs, stopping) + slack,
            )
            for one in allowed
        ]
        for since, until in _outside(presence, covers):
            windows = [(round(one.since, 1), round(one.until, 1), one.ticket) for one in allowed]
            verdict.complain(
                "outside the window",
                f"{presence.key} from {since:.1f} to {until:.1f} ({until - since:.1f} s); allowed {windows}",
            )


def judge_kept(
    verdict: Verdict, outcome: Outcome, presences: Iterable[Presence], *, wrong: Wrong = never_wrong
) -> None:
    """What was given stays until its end: another ticket's end takes nothing away."""
    for presence in presences:
        allowed = outcome.allowed.get(presence.key, [])
        if any(one.ticket in outcome.stopped_at for one in allowed):
            continue
        early = EARLY_S + wrong(presence.since, presence.until)
        # One that was approved only just now may not be known yet when the other ends.
        cut = [one for one in allowed if one.since + LATE_S < presence.until < one.sure_until - early]
        for one in cut:
            verdict.complain(
                "taken away early",
                f"{presence.key} went at {presence.until:.1f}; {one.ticket} runs to {one.sure_until:.1f}",
            )


def _conceded(
    one: Allowed, stopped_at: float | None, downs: Sequence[Down], stopping: Sequence[Down]
) -> float:
    """The last moment access may be there: after its end, or after somebody's stop was answered.

    An end needs the provisioner alone; a stop travels, so the ticket service and the broker must be up too.
    """
    end = conceded_until(one.until, downs)
    if stopped_at is None:
        return end
    return min(end, conceded_until(stopped_at, stopping, left=STOP_LATE_S))


def merged(downs: Sequence[Down]) -> list[Down]:
    """Times at which at least one was down, without overlaps."""
    result: list[Down] = []
    for down in sorted(downs, key=lambda one: one.since):
        if result and down.since <= result[-1].until:
            result[-1] = Down(result[-1].since, max(result[-1].until, down.until))
        else:
            result.append(down)
    return result


def _outside(presence: Presence, covers: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The parts of a presence that nothing covers."""
    rest, position = [], presence.since
    for since, until in sorted(covers):
        if position < min(since, presence.until):
            rest.append((position, min(since, presence.until)))
        position = max(position, until)
    if position < presence.until:
        rest.append((position, presence.until))
    return rest


def conceded_until(end: float, downs: Sequence[Down], *, left: float = LATE_S) -> float:
    """The moment at which there have been so many seconds without any of the downs after an end."""
    position = end
    for down in sorted(downs, key=lambda one: one.since):
        if down.until <= position:
            continue
        if down.since - position >= left:
            break
        left -= max(0.0, down.since - position)
        position = down.until
    return position + left


def judge_nothing_left(
    verdict: Verdict, standing: set[tuple[str, ...]], now: Sequence[dict[str, Any]]
) -> None:
    left = {assignment_key(row) for row in now}
    for key in left - standing:
        verdict.complain("left behind", str(key))
    for key in standing - left:
        verdict.complain("taken away", f"{key} was there before JIT and is gone")


def assignment_key(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["principal_type"], row["principal"], row["account"], row["permission_set"])
