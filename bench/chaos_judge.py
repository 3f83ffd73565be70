"""What bench/chaos.py judges beside what bench/day_judge.py does: overruns and why, alerts, doubles.

Pure, on the simulator's record, the people's memory and the audit log.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.day_people import Allowed, Key, Outcome
from bench.day_truth import Presence, Verdict, Wrong, conceded_until
from bench.fleet import Down

SAID_WITHIN_S: Final = 10.0
"""Late revokes are looked for every five seconds."""
_PADDED: Final = frozenset({"automatic", "others"})
"""Kinds whose windows are known only roughly from outside: too late an end is noted for them."""
_ONCE: Final = frozenset(
    {"access.granted", "access.revoke_due", "access.revoked", "access.released", "access.failed"}
)
"""Facts that a grant has one of, or none."""


@dataclass(frozen=True, slots=True)
class Overrun:
    """Access that was there after its end. Epoch seconds."""

    key: Key
    tickets: tuple[str, ...]
    ended: float
    gone: float

    @property
    def seconds(self) -> float:
        return self.gone - self.ended


def overruns_of(outcome: Outcome, presences: Iterable[Presence]) -> list[Overrun]:
    """Of all whose end is known; the longest first."""
    found = [_overrun(outcome, one) for one in presences]
    return sorted((one for one in found if one is not None), key=lambda one: -one.seconds)


def _overrun(outcome: Outcome, presence: Presence) -> Overrun | None:
    windows = [one for one in outcome.allowed.get(presence.key, []) if one.since < presence.until]
    if not windows or any(outcome.tickets.get(one.ticket) in _PADDED for one in windows):
        return None
    ended = max(_end(outcome, one) for one in windows)
    # What appeared after its end was made by a creation that AWS carried out late.
    ended = max(ended, presence.since)
    if presence.until <= ended:
        return None
    return Overrun(presence.key, tuple(one.ticket for one in windows), ended, presence.until)


def _end(outcome: Outcome, window: Allowed) -> float:
    return min(window.until, outcome.stopped_at.get(window.ticket, window.until))


def judge_alerted(
    verdict: Verdict,
    overruns: Iterable[Overrun],
    events: Iterable[Mapping[str, Any]],
    arns: Mapping[str, str],
    *,
    objective_s: float,
    downs: Sequence[Down],
    wrong: Wrong,
) -> None:
    """Whoever could have seen that a revoke was late has said so: a fact about a grant of that access.

    `downs` are the times in which no provisioner could look. Late is what lasts `objective_s` after its end.
    """
    said: dict[Key, list[float]] = {}
    for event in events:
        if event["metadata"]["event_code"] == "access.revoke_overdue":
            key = (event["user"]["uid"], event["resources"][0]["uid"], arns[event["privileges"][0]])
            said.setdefault(key, []).append(event["time"] / 1000)
    late = 0
    for one in overruns:
        slack = wrong(one.ended, one.gone)
        seen_by = conceded_until(one.ended + objective_s, downs, left=SAID_WITHIN_S + slack)
        if one.gone <= seen_by:
            continue
        late += 1
        if not any(
            one.ended - slack <= at <= one.gone + SAID_WITHIN_S + slack for at in said.get(one.key, [])
        ):
            verdict.complain(
                "not alerted", f"{one.key} was there {one.seconds:.1f} s after its end; tickets {one.tickets}"
            )
    verdict.counts["late_revokes"] = late
    verdict.counts["overdue_facts"] = sum(len(times) for times in said.values())


def judge_once(verdict: Verdict, events: Iterable[Mapping[str, Any]]) -> None:
    """No grant was given, ended or closed twice."""
    told = Counter(
        (event["unmapped"]["jit"]["grant_id"], event["metadata"]["event_code"])
        for event in events
        if event["metadata"]["event_code"] in _ONCE
    )
    for (grant_id, code), times in told.items():
        if times > 1:
            verdict.complain("doubled", f"{code} of grant {grant_id} was said {times} times")


def longest(
    overruns: Sequence[Overrun], reasons: Callable[[float, float], list[str]]
) -> dict[str, Any] | None:
    """The longest overrun, and all that was wrong meanwhile."""
    if not overruns:
        return None
    worst = overruns[0]
    return {
        "seconds": round(worst.seconds, 1) if math.isfinite(worst.seconds) else "it is still there",
        "tickets": list(worst.tickets),
        "because": reasons(worst.ended, worst.gone)
        or ["nothing was struck: AWS's own time and the settling"],
    }
