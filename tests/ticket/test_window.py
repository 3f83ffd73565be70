from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from services.ticket.commands.tickets import limits_of
from services.ticket.domain.window import (
    Limits,
    check_reason,
    check_window,
    pending_until,
)
from services.ticket.settings import TicketSettings
from shared.contracts.windows import WindowAsked
from tests.support.harness import NOW
from tests.support.signing import key_settings

HOUR = timedelta(hours=1)
LIMITS = Limits(
    shortest_window=timedelta(minutes=5),
    longest_lead=timedelta(days=90),
    default_window=timedelta(hours=24),
    pending_limit=timedelta(hours=24),
    most_grants=50,
    shortest_reason=10,
)


def asked(
    starts_at: datetime | None = None, ends_at: datetime | None = None, duration: timedelta | None = None
) -> WindowAsked:
    return WindowAsked(starts_at=starts_at, ends_at=ends_at, duration=duration)


@pytest.mark.parametrize(
    ("window", "codes"),
    [
        (asked(duration=HOUR), []),
        (asked(ends_at=NOW + HOUR), []),
        (asked(), []),
        (asked(NOW + HOUR, NOW + 2 * HOUR), []),
        (asked(ends_at=NOW + HOUR, duration=HOUR), ["end_and_duration"]),
        (asked(NOW + 2 * HOUR, NOW + HOUR), ["end_before_start"]),
        (asked(NOW + HOUR, NOW + HOUR), ["end_before_start"]),
        (asked(ends_at=NOW), ["end_in_past"]),
        (asked(ends_at=NOW - HOUR), ["end_in_past"]),
        (asked(duration=timedelta(0)), ["duration_not_positive"]),
        (asked(duration=-HOUR), ["duration_not_positive"]),
        (asked(duration=timedelta(minutes=5)), []),
        (asked(duration=timedelta(minutes=5) - timedelta(seconds=1)), ["duration_too_short"]),
        (asked(duration=timedelta(days=366)), []),
        (asked(duration=timedelta(days=366, seconds=1)), ["duration_absurd"]),
        (asked(ends_at=NOW + timedelta(days=4000)), ["duration_absurd"]),
        (asked(NOW - timedelta(seconds=60), duration=HOUR), []),
        (asked(NOW - timedelta(seconds=61), duration=HOUR), ["start_in_past"]),
        (asked(NOW + timedelta(days=90), duration=HOUR), []),
        (asked(NOW + timedelta(days=90, seconds=1), duration=HOUR), ["start_too_far"]),
    ],
)
def test_check_window_at_each_limit_names_what_is_wrong(window: WindowAsked, codes: list[str]) -> None:
    assert [problem.code for problem in check_window(window, now=NOW, limits=LIMITS)] == codes


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (asked(duration=HOUR), NOW + timedelta(hours=24)),
        (asked(ends_at=NOW + HOUR), NOW + HOUR),
        (asked(ends_at=NOW + timedelta(days=3)), NOW + timedelta(hours=24)),
        (asked(NOW + HOUR, NOW + 3 * HOUR), NOW + 3 * HOUR),
        (asked(NOW + HOUR, duration=HOUR), NOW + 2 * HOUR),
        (asked(NOW + timedelta(days=5), duration=HOUR), NOW + timedelta(days=5) + HOUR),
    ],
)
def test_pending_until_follows_the_end_or_the_limit(window: WindowAsked, expected: datetime) -> None:
    assert pending_until(window, now=NOW, limits=LIMITS) == expected


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", "reason_too_short"),
        ("   short   ", "reason_too_short"),
        ("123456789", "reason_too_short"),
        ("x" * 2001, "reason_too_long"),
        ("the key is AKIAIOSFODNN7EXAMPLE here", "looks_secret"),
        ("use wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY to log in", "looks_secret"),
        ("-----BEGIN RSA PRIVATE KEY----- etc", "looks_secret"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "looks_secret"),
        ("password: hunter22 for the database", "looks_secret"),
    ],
)
def test_check_reason_that_says_nothing_or_holds_a_secret_is_refused(reason: str, code: str) -> None:
    problems = check_reason(reason, LIMITS)
    assert [problem.code for problem in problems] == [code]
    assert all(reason.strip() not in problem.detail or not reason.strip() for problem in problems)


@pytest.mark.parametrize(
    "reason",
    [
        "1234567890",
        "restart the payment workers after incident 4711",
        "rotate the token of the build server, see OPS-12",
        "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904 must be rolled back",
    ],
)
def test_check_reason_of_a_person_passes(reason: str) -> None:
    assert check_reason(reason, LIMITS) == []


@pytest.mark.parametrize(
    ("shortest", "length", "codes"),
    [(10, 9, ["reason_too_short"]), (10, 10, []), (1, 0, ["reason_too_short"]), (1, 1, []), (500, 500, [])],
)
def test_check_reason_takes_as_few_characters_as_the_setting_says(
    shortest: int, length: int, codes: list[str]
) -> None:
    problems = check_reason(f"  {'é' * length} ", replace(LIMITS, shortest_reason=shortest))
    assert [problem.code for problem in problems] == codes
    assert all(f"at least {shortest} characters" in problem.detail for problem in problems)


def test_limits_are_those_of_the_settings() -> None:
    settings = TicketSettings(
        env="development",
        database_url=SecretStr("postgresql://"),
        shortest_reason=30,
        most_grants=7,
        **key_settings("ticket"),
    )
    limits = limits_of(settings)
    assert (limits.shortest_reason, limits.most_grants) == (30, 7)
