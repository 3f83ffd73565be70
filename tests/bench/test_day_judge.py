"""The judge of the working day must fail where something is wrong; each rule, on made-up days."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from bench.day_judge import fold, judge_log, judge_words
from bench.day_people import Allowed, Outcome
from bench.day_truth import (
    Presence,
    Verdict,
    conceded_until,
    judge_kept,
    judge_truth,
    merged,
    presences_of,
)
from bench.fleet import Down

KEY = ("user-ann", "111111111111", "arn:set/ps-1")
OTHER = ("user-bob", "111111111111", "arn:set/ps-1")


def outcome(*allowed: Allowed, stopped: dict[str, float] | None = None) -> Outcome:
    return Outcome(allowed={KEY: list(allowed)}, stopped_at=stopped or {})


def window(since: float, until: float, ticket: str = "t") -> Allowed:
    return Allowed(since, until, ticket, until)


def truth(presence: Presence, day: Outcome, *downs: Down) -> list[str]:
    verdict = Verdict()
    judge_truth(verdict, day, [presence], downs, stopping=downs)
    return [line.partition(":")[0] for line in verdict.violations]


@pytest.mark.parametrize(
    ("presence", "rules"),
    [
        (Presence(KEY, 100, 200), []),
        (Presence(KEY, 100, 215), []),
        (Presence(KEY, 100, 215.2), ["outside the window"]),
        (Presence(KEY, 99, 200), ["outside the window"]),
        (Presence(KEY, 99.6, 200), []),
        (Presence(KEY, 100, float("inf")), ["outside the window"]),
        (Presence(KEY, 50, 60), ["outside the window"]),
        (Presence(OTHER, 100, 200), ["no ticket"]),
    ],
)
def test_truth_of_one_window_is_judged_at_its_limits(presence: Presence, rules: list[str]) -> None:
    assert truth(presence, outcome(window(100, 200))) == rules


def test_truth_concedes_the_time_the_provisioner_was_away() -> None:
    day = outcome(window(100, 200))
    assert truth(Presence(KEY, 100, 245), day, Down(205, 235)) == []
    assert truth(Presence(KEY, 100, 246), day, Down(205, 235)) == ["outside the window"]
    assert truth(Presence(KEY, 100, 246), day, Down(100, 199)) == ["outside the window"]


def test_truth_of_two_windows_is_their_union() -> None:
    day = outcome(window(100, 200), window(190, 300, "u"))
    assert truth(Presence(KEY, 100, 310), day) == []
    assert truth(Presence(KEY, 100, 240), outcome(window(100, 200), window(250, 300, "u"))) == [
        "outside the window"
    ]


def test_truth_after_a_stop_that_did_nothing_is_a_violation() -> None:
    stopped = outcome(window(100, 200), stopped={"t": 120})
    assert truth(Presence(KEY, 100, 149), stopped) == []
    assert truth(Presence(KEY, 100, 180), stopped) == ["outside the window"]


def test_kept_finds_what_another_tickets_end_took_away() -> None:
    day = outcome(window(100, 130), window(105, 200, "u"))
    for until, found in ((131, 1), (199.8, 0), (200, 0)):
        verdict = Verdict()
        judge_kept(verdict, day, [Presence(KEY, 100, until)])
        assert len(verdict.violations) == found, until


def test_kept_says_nothing_of_what_somebody_stopped() -> None:
    verdict = Verdict()
    judge_kept(verdict, outcome(window(100, 200), stopped={"t": 130}), [Presence(KEY, 100, 131)])
    assert verdict.violations == []


def test_conceded_until_counts_fifteen_seconds_of_being_up() -> None:
    assert conceded_until(100, []) == 115
    assert conceded_until(100, [Down(90, 95)]) == 115
    assert conceded_until(100, [Down(90, 110)]) == 125
    assert conceded_until(100, [Down(105, 110), Down(112, 132)]) == 140
    assert conceded_until(100, [Down(115, 400)]) == 115


def test_merged_joins_what_overlaps() -> None:
    assert merged([Down(5, 9), Down(1, 3), Down(2, 4)]) == [Down(1, 4), Down(5, 9)]


def test_presences_leave_standing_assignments_out_and_keep_open_ones() -> None:
    def row(event: str, time: float, *, cause: str = "r", who: str = "u") -> dict[str, Any]:
        return {
            "event": event,
            "time": time,
            "cause": cause,
            "principal": who,
            "principal_type": "USER",
            "account": "a",
            "permission_set": "s",
        }

    history = [row("appeared", 0, cause="standing", who="x"), row("appeared", 1), row("disappeared", 2)]
    history.append(row("appeared", 3))
    assert presences_of(history) == [
        Presence(("u", "a", "s"), 1, 2),
        Presence(("u", "a", "s"), 3, float("inf")),
    ]


def record(code: str, uid: str, sequence: int, **more: Any) -> dict[str, Any]:
    metadata = {"event_code": code, "uid": uid, "sequence": sequence, "correlation_uid": "t"}
    return {"metadata": metadata, **more}


@pytest.mark.parametrize(
    ("events", "published", "complaints"),
    [
        ([record("ticket.submitted", "a", 1), record("audit.read", "b", 2)], ["a"], 0),
        ([record("ticket.submitted", "a", 1)], ["a", "lost"], 1),
        ([record("ticket.submitted", "a", 1), record("ticket.closed", "made-up", 2)], ["a"], 1),
        ([record("ticket.submitted", "a", 1), record("ticket.submitted", "a", 2)], ["a"], 1),
        ([record("ticket.submitted", "a", 2)], ["a"], 1),
    ],
)
def test_log_is_gapless_complete_and_without_repeats(
    events: list[dict[str, Any]], published: list[str], complaints: int
) -> None:
    verdict = Verdict()
    judge_log(verdict, events, Counter(published))
    assert len(verdict.violations) == complaints, verdict.violations


@pytest.mark.parametrize(
    ("code", "said", "presence", "complaints"),
    [
        ("access.granted", 105, (100, 200), 0),
        ("access.granted", 99, (100, 200), 1),
        ("access.granted", 205, (100, 200), 0),  # seen shortly before it was said
        ("access.granted", 211, (100, 200), 1),
        ("access.revoked", 200, (100, 200), 0),
        ("access.revoked", 150, (100, 200), 1),
    ],
)
def test_words_about_aws_are_compared_with_the_truth(
    code: str, said: float, presence: tuple[float, float], complaints: int
) -> None:
    event = record(
        code, "a", 1, time=said * 1000, resources=[{"uid": KEY[1]}], user={"uid": KEY[0]}, privileges=["ps-1"]
    )
    sets = {"x": SimpleNamespace(arn=KEY[2])}
    fleet: Any = SimpleNamespace(organisation=SimpleNamespace(permission_sets=sets))
    verdict = Verdict()
    judge_words(verdict, [event], [Presence(KEY, *presence)], fleet)
    assert len(verdict.violations) == complaints


def test_words_by_a_clock_that_was_behind_are_compared_with_the_truth_as_far_as_it_was() -> None:
    """Access that came at 100, by a clock that was 30 s behind from 90 to 130."""
    sets = {"x": SimpleNamespace(arn=KEY[2])}
    fleet: Any = SimpleNamespace(organisation=SimpleNamespace(permission_sets=sets))
    for said, complaints in ((71, 0), (69, 1)):
        event = record(
            "access.granted", "a", 1,
            time=said * 1000, resources=[{"uid": KEY[1]}], user={"uid": KEY[0]}, privileges=["ps-1"],
        )  # fmt: skip
        verdict = Verdict()
        judge_words(
            verdict, [event], [Presence(KEY, 100, 200)], fleet,
            wrong=lambda since, until: 30.0 if since <= 130 and until >= 90 else 0.0,
        )  # fmt: skip
        assert len(verdict.violations) == complaints


def told(code: str, version: int, **targets: tuple[str, str, str | None]) -> dict[str, Any]:
    """The record of a ticket fact that tells of these targets: state, grant's id, grant's state."""
    data = {
        "version": version,
        "targets": [{"id": name, "state": state} for name, (state, _, _) in targets.items()],
        "grants": [
            {"id": grant, "target_id": name, "state": state} for name, (_, grant, state) in targets.items()
        ],
    }
    return record(code, f"v{version}", version, entity={"data": data})


def access(code: str, sequence: int) -> dict[str, Any]:
    return record(code, f"e{sequence}", sequence, unmapped={"jit": {"grant_id": "grant"}})


def test_fold_takes_each_target_as_told_last_and_how_far_each_grant_came() -> None:
    events = [
        told("ticket.submitted", 1, one=("pending", "grant", None), two=("pending", "old", None)),
        told("ticket.approved", 4, one=("approved", "grant", "scheduled")),
        told("ticket.revised", 3, two=("pending", "new", None)),
        told("ticket.rejected", 2, two=("rejected", "old", None)),
        access("access.revoked", 5),
        access("access.granted", 6),
    ]
    assert fold(events) == {
        "t": {"targets": {"one": "approved", "two": "pending"}, "grants": {"grant": "revoked", "new": None}}
    }
