"""What is judged after chaos must fail where something is wrong; each rule, on made-up records."""

from typing import Any

import pytest

from bench.chaos_judge import judge_alerted, judge_once, longest, overruns_of
from bench.chaos_strikes import Step, Storm, Strike
from bench.day_people import Allowed, Outcome
from bench.day_truth import Presence, Verdict, never_wrong
from bench.fleet import Down, ServiceProcess

KEY = ("user-ann", "111111111111", "arn:set/ps-1")
ARNS = {"ps-1": "arn:set/ps-1"}


def outcome(*windows: Allowed, stopped: dict[str, float] | None = None, kind: str = "run") -> Outcome:
    tickets = {window.ticket: kind for window in windows}
    return Outcome(allowed={KEY: list(windows)}, tickets=tickets, stopped_at=stopped or {})


def window(since: float, until: float, ticket: str = "t") -> Allowed:
    return Allowed(since, until, ticket, until)


def fact(code: str, at: float, grant: str = "grant-1") -> dict[str, Any]:
    return {
        "metadata": {"event_code": code},
        "user": {"uid": KEY[0]},
        "resources": [{"uid": KEY[1]}],
        "privileges": ["ps-1"],
        "unmapped": {"jit": {"grant_id": grant}},
        "time": int(at * 1000),
    }


@pytest.mark.parametrize(
    ("day", "presence", "seconds"),
    [
        (outcome(window(100, 200)), Presence(KEY, 100, 230), [30]),
        (outcome(window(100, 200)), Presence(KEY, 100, 199), []),
        (outcome(window(100, 200), window(150, 300, "u")), Presence(KEY, 100, 310), [10]),
        (outcome(window(100, 200), window(400, 500, "u")), Presence(KEY, 100, 230), [30]),
        (outcome(window(100, 200), stopped={"t": 120}), Presence(KEY, 100, 150), [30]),
        (outcome(window(100, 200)), Presence(KEY, 210, 230), [20]),
        (outcome(window(100, 200), kind="automatic"), Presence(KEY, 100, 230), []),
        (outcome(), Presence(KEY, 100, 230), []),
    ],
)
def test_overrun_counts_from_the_last_end_there_was(
    day: Outcome, presence: Presence, seconds: list[float]
) -> None:
    assert [one.seconds for one in overruns_of(day, [presence])] == seconds


def alerted(gone: float, *events: dict[str, Any], downs: tuple[Down, ...] = ()) -> list[str]:
    verdict = Verdict()
    overruns = overruns_of(outcome(window(100, 200)), [Presence(KEY, 100, gone)])
    judge_alerted(verdict, overruns, events, ARNS, objective_s=20, downs=downs, wrong=never_wrong)
    return [line.partition(":")[0] for line in verdict.violations]


def test_late_revoke_that_nobody_was_told_of_is_a_violation() -> None:
    assert alerted(231) == ["not alerted"]
    assert alerted(230) == [], "it was over before anybody had to look"
    assert alerted(231, fact("access.revoke_overdue", 221)) == []


def test_alert_about_another_time_or_of_another_kind_is_none() -> None:
    assert alerted(231, fact("access.revoke_overdue", 199)) == ["not alerted"]
    assert alerted(231, fact("access.revoke_overdue", 242)) == ["not alerted"]
    assert alerted(231, fact("access.revoke_due", 221)) == ["not alerted"]


def test_alert_is_not_expected_of_who_was_away() -> None:
    assert alerted(260, downs=(Down(205, 250),)) == []
    assert alerted(261, downs=(Down(205, 250),)) == ["not alerted"]


@pytest.mark.parametrize("code", ["access.granted", "access.revoke_due", "access.revoked", "access.failed"])
def test_fact_of_a_grant_that_is_said_twice_is_a_violation(code: str) -> None:
    verdict = Verdict()
    judge_once(verdict, [fact(code, 1), fact(code, 2), fact(code, 3, grant="grant-2")])
    assert len(verdict.violations) == 1
    assert verdict.violations[0].startswith("doubled")


def storm() -> Storm:
    running: Any = type("Running", (), {"database_downs": [Down(100, 110)], "services": {}})()
    for name, serves in (("provisioner", ""), ("provisioner-2", "provisioner"), ("ticket", "")):
        running.services[name] = ServiceProcess(name, 0, {}, (), None, serves)  # type: ignore[arg-type]
    running.services["provisioner-2"].downs.append(Down(200, 203))
    running.services["ticket"].downs.append(Down(300, 303))
    made = Storm(running, 1, 0.5)
    made.strikes.append(Strike("AWS", "throttled", 400, 410))
    made.steps.append(Step(-30, 500, 520))
    return made


def test_storm_knows_when_revokes_and_alerts_could_not_be_expected() -> None:
    assert storm().blind == [Down(100, 120), Down(200, 203)]
    assert storm().downs == [Down(100, 120), Down(200, 206), Down(400, 410)]


@pytest.mark.parametrize(
    ("since", "until", "seconds"), [(400, 499, 0), (400, 500, 30), (595, 700, 30), (596, 700, 0)]
)
def test_storm_knows_how_wrong_the_clock_may_have_been(since: float, until: float, seconds: float) -> None:
    assert storm().wrong(since, until) == seconds


def test_longest_overrun_is_told_with_what_was_wrong_meanwhile() -> None:
    presences = [Presence(KEY, 100, 205), Presence(KEY, 100, 512)]
    found = longest(overruns_of(outcome(window(100, 200)), presences), storm().reasons)
    assert found == {
        "seconds": 312,
        "tickets": ["t"],
        "because": ["AWS: throttled (10 s)", "clock: the provisioner's 30 s behind (20 s)"],
    }
